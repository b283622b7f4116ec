"""Tokens of an encoder over a whole set of images, from one forward pass, kept on disk by content.

The cache key is a hash of the encoder, the images and the view; a wrong entry can therefore not be named. An entry that
is damaged is built again, one that is incomplete is finished. Evaluation reads pooled vectors, distillation also
patches (its teacher cache is one entry per teacher, view and shard of the images).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from unic._scratch import is_in_use, say_not_kept, say_read_only, scratch
from unic.data.cache_dir import default_cache_dir
from unic.data.sources import Source
from unic.encoders.base import Encoder
from unic.features.entry import Arrays, Check, Damaged, Tally, load, row_sums, summed
from unic.features.extraction import FORMAT, Extraction, Progress, evaluating
from unic.features.patches import Dtype
from unic.features.store import ReadOnlyError, build, building, collect
from unic.tokens import Grid

__all__ = [
    "FORMAT",
    "DamagedRowsError",
    "Dtype",
    "Extraction",
    "Features",
    "default_cache_dir",
    "extract",
    "find",
    "obtain",
]


class DamagedRowsError(Exception):
    """Rows on the disk are not what was written."""


@dataclass
class Features:
    """Tokens of n images (those of the set that could be read, in its order).

    Attributes:
        cls: `(n, D)` float32. From the cache it is on a memory map if it is large, as every array here may be.
        patch_mean: `(n, E)` float32, mean of the patches on the encoder's own grid.
        index: `(n,)` int64, ascending: the number of each image in its set.
        labels: `(n,)` int64, or None if any of the images is unlabelled.
        classes: names of the classes.
        patches: `(n, N, E)` float16, float32 or 8-bit levels, `N = grid[0] * grid[1]`; on a memory map when cached.
        ranges: `(n, 2, E)` float16, what the levels mean (`_stored_patches`); None for the other types.
        grid: rows and columns of `patches`.
        sums: `(n, k)` uint64, `row_sums` of the arrays above, for entries that were opened without reading them.
        damaged: (index, name, reason) of the images that are missing.
    """

    cls: np.ndarray
    patch_mean: np.ndarray
    index: np.ndarray
    labels: np.ndarray | None = None
    classes: list[str] | None = None
    patches: np.ndarray | None = None
    ranges: np.ndarray | None = None
    grid: Grid | None = None
    sums: np.ndarray | None = None
    damaged: list[Damaged] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, index: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """The row of each image, given the numbers of images in the set. Raises `KeyError` for one that is missing."""
        wanted = index.cpu().numpy()
        rows = np.searchsorted(self.index, wanted)
        found = self.index[np.minimum(rows, len(self) - 1)] == wanted if len(self) else np.zeros(len(wanted), bool)
        if not found.all():
            raise KeyError(f"no features of image {wanted[~found][0]}")
        return torch.from_numpy(rows)

    def take(self, index: Int[Tensor, " b"]) -> Arrays:
        """Copies of `cls` and what is kept of the patches, as stored, of some images.

        Raises:
            KeyError: an image is missing.
            DamagedRowsError: the disk no longer has what was written; only entries with `sums` know.
        """
        rows = self.rows(index).numpy()
        kept = {"cls": self.cls, "patches": self.patches, "ranges": self.ranges}
        taken = {name: np.asarray(values[rows]) for name, values in kept.items() if values is not None}
        if self.sums is not None:
            columns = summed(["patch_mean", *taken])  # alphabetical, so that leaving patches out keeps the places
            for name, values in taken.items():
                if (row_sums(values) != self.sums[rows, columns.index(name)]).any():
                    raise DamagedRowsError(name)
        return taken


def extract(
    encoder: Encoder,
    images: Source,
    *,
    size: int | None = None,
    augment: str = "none",
    seed: int = 0,
    view: int = 0,
    patch_grid: Grid | Literal["own"] | None = None,
    blocks: Sequence[int] = (),
    batch_size: int = 64,
    workers: int = 0,
    cache: Path | None = None,
    dtype: Dtype = "fp16",
    progress: Progress | None = None,
) -> Features:
    """Tokens of every readable image of a set.

    Args:
        encoder: used as it is (device, precision), in evaluation mode and without gradients.
        images: any source.
        size: side of the square view, which the encoder resizes itself; None: the centre square at the encoder's own
            input size.
        augment: name of an augmentation; "none": the centre square.
        seed: first key of the augmented view, for `augment` other than "none".
        view: second key of it.
        patch_grid: also keep the patches: on the encoder's own grid, or resized to this one.
        blocks: take the tokens after these blocks (0-based, see `Encoder.intermediates`), their channels side by side
            on the grid of the last one, in place of the encoder's output.
        batch_size: images at a time.
        workers: processes that decode images; 0: this one.
        cache: folder to keep the result in and to look for it; None: only in memory. Of processes that want the same
            one computes and the others wait. Where it cannot be written, or the encoder has an `unidentified` part,
            the result is kept until the process ends.
        dtype: of the patches (`_stored_patches`); `cls` and `patch_mean` are always float32. Patch values beyond the
            range of fp16 become its largest, with a warning.
        progress: called with (images done, images in all) after every batch.

    Raises:
        InputError: the output is not finite, or does not fit on the disk.
    """
    extraction = Extraction(
        encoder, images, size, augment, seed, view, patch_grid, blocks, batch_size, workers, dtype, progress
    )
    if cache is None:
        with evaluating(encoder):
            return _labelled(_features(*collect(extraction.parts, len(extraction))), images)
    return obtain(extraction, cache)


def obtain(
    extraction: Extraction, cache: Path, check: Check = "whole", wanted: Int[Tensor, " b"] | None = None
) -> Features:
    """From the cache, into which it is brought where it is missing or damaged.

    Args:
        extraction: what is wanted.
        cache: folder of the entries.
        check: `whole` reads every byte and compares; `rows` leaves that to `Features.take`, row by row.
        wanted: numbers of images. Then it is this very entry, and one that leaves out any of them, as unreadable, is
            built anew, once.
    """
    found = find(extraction, cache, check, wanted)
    if found is not None:
        return found
    unknown = extraction.encoder.unidentified()
    if unknown:
        say_not_kept(extraction.encoder.uri or type(extraction.encoder).__name__, unknown)
        return _build(extraction, scratch(), check, wanted)
    try:
        return _build(extraction, cache, check, wanted)
    except ReadOnlyError:
        say_read_only(cache)
        return _build(extraction, scratch(), check, wanted)


def _build(extraction: Extraction, cache: Path, check: Check, wanted: Int[Tensor, " b"] | None) -> Features:
    with building(cache, extraction.entry) as folder:
        # Another process may have built it while this one waited.
        found = find(extraction, cache, check, wanted)
        if found is None:
            with evaluating(extraction.encoder):
                build(folder, cache / extraction.entry, extraction.parts, len(extraction))
            found = find(extraction, cache, check)
            assert found is not None, f"{cache / extraction.entry} changed while it was written"
    return found


def find(
    extraction: Extraction, cache: Path, check: Check = "whole", wanted: Int[Tensor, " b"] | None = None
) -> Features | None:
    """An entry that can answer: the one asked for, and for pooled vectors any that also holds patches.

    Arguments as for `obtain`.
    """
    pooled = extraction.layout == "pooled"
    # The process's own folder first: what is there was missing in the cache, or damaged.
    places = [*([scratch()] if is_in_use() else []), *([] if extraction.encoder.unidentified() else [cache])]
    entries = [place / extraction.entry for place in places]
    if pooled and wanted is None:
        entries += [entry for place in places for entry in sorted(place.glob(f"{extraction.key}-*-*"))]
    for entry in entries:
        stored = load(entry, check)
        if stored is None or (wanted is not None and not np.isin(wanted.numpy(), stored[0]["index"]).all()):
            continue
        features = _features(*stored)
        if pooled:
            features.patches = features.ranges = features.grid = None
        if check == "rows":  # labels are not asked for there, and each costs a look-up
            features.sums = stored[0].get("sums")
            return features
        return _labelled(features, extraction.images)
    return None


def _features(arrays: Arrays, tally: Tally) -> Features:
    return Features(
        arrays["cls"], arrays["patch_mean"], arrays["index"], patches=arrays.get("patches"),
        ranges=arrays.get("ranges"), grid=tally.grid, damaged=tally.damaged,
    )  # fmt: skip


def _labelled(features: Features, images: Source) -> Features:
    """Adds the labels, which belong to the images and are not stored."""
    if images.classes is not None:
        labels = [images.label(index) for index in features.index.tolist()]
        if None not in labels:
            features.labels = np.array(labels, dtype=np.int64)
            features.classes = images.classes
    return features
