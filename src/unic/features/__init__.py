"""Tokens of an encoder over a whole set of images, from one forward pass, cached on disk by content.

The cache key is a hash of the encoder, the images and the view, so a key never names the features of something else. A
damaged entry is built again, an incomplete one is resumed. Evaluation reads pooled vectors; distillation also reads
patches (its teacher cache has one entry for each teacher, view and shard of the images).
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
from unic.data.batch import DamagedImage
from unic.data.cache_dir import default_cache_dir
from unic.data.sources import Source
from unic.encoders.base import Encoder
from unic.features.entry import Check, NamedArrays, Tally, load, row_sums, summed
from unic.features.extraction import FORMAT, Extraction, ProgressCallback, evaluating
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
    """The rows on the disk differ from those that were written; the text is the name of the array."""


@dataclass
class Features:
    """Tokens of n images: all images of the set that could be read, in its order.

    Any of the arrays is a memory map if it comes from the cache and is large.

    Attributes:
        cls: `(n, D)` float32.
        patch_mean: `(n, E)` float32, mean of the patches on the encoder's own grid.
        index: `(n,)` int64, ascending: the index of each image in the set.
        labels: `(n,)` int64, or None if any of the images is unlabelled.
        classes: names of the classes.
        patches: `(n, N, E)` float16, float32 or 8-bit levels, `N = grid[0] * grid[1]`; always a memory map if cached.
        ranges: `(n, 2, E)` float16, the smallest value and the step of the 8-bit levels (`unic.features.patches`);
            None for the other types.
        grid: rows and columns of `patches`.
        sums: `(n, k)` uint64, `row_sums` of the arrays above; None if they were verified when they were opened.
        damaged: the images that could not be read.
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
    damaged: list[DamagedImage] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, index: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """The row of each image, given the indices of images in the set. Raises `KeyError` for one without a row."""
        wanted = index.cpu().numpy()
        rows = np.searchsorted(self.index, wanted)
        found = self.index[np.minimum(rows, len(self) - 1)] == wanted if len(self) else np.zeros(len(wanted), bool)
        if not found.all():
            raise KeyError(f"no features of image {wanted[~found][0]}")
        return torch.from_numpy(rows)

    def take(self, index: Int[Tensor, " b"]) -> NamedArrays:
        """Copies of `cls`, `patches` and `ranges` of some images, as stored; without the arrays that are None.

        Args:
            index: indices of images in the set.

        Raises:
            KeyError: an image has no row.
            DamagedRowsError: the rows on the disk differ from those that were written. Needs `sums`.
        """
        rows = self.rows(index).numpy()
        kept = {"cls": self.cls, "patches": self.patches, "ranges": self.ranges}
        taken = {name: np.asarray(values[rows]) for name, values in kept.items() if values is not None}
        if self.sums is not None:
            columns = summed(["patch_mean", *taken])  # alphabetical, so `cls` keeps its column without patches
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
    progress: ProgressCallback | None = None,
) -> Features:
    """Tokens of every readable image of a set.

    Args:
        encoder: any encoder. It runs on its device and in its precision, in evaluation mode and without gradients.
        images: any source.
        size: side in pixels of the square view, which the encoder resizes itself; None: the encoder's own input size.
        augment: name of an augmentation; "none": the centre square.
        seed: first key of the random view, for `augment` other than "none".
        view: second key of the random view.
        patch_grid: also keep the patches: on the encoder's own grid, or resized to this one.
        blocks: blocks (0-based, see `Encoder.intermediates`) whose tokens replace the encoder's output: their channels
            side by side, on the grid of the last block.
        batch_size: images of a batch.
        workers: processes that decode images; 0: this process decodes.
        cache: folder of the cache, which is read and written; None: no cache. If several processes ask for the same
            features, one computes them and the others wait. If the folder cannot be written, or the encoder has an
            `unidentified` part, the features are kept until the process ends.
        dtype: type of the patches (`unic.features.patches`); `cls` and `patch_mean` are always float32. Patch values
            beyond the range of fp16 are clipped to it, with a warning.
        progress: called after every batch with the number of images done and of all images.

    Raises:
        InputError: the output is not finite, no image can be read, or `cache` is not a folder.
        StoppedError: the features do not fit on the disk.
    """
    extraction = Extraction(
        encoder, images, size, augment, seed, view, patch_grid, blocks, batch_size, workers, dtype, progress
    )
    if cache is None:
        with evaluating(encoder):
            return _labelled(_features(*collect(extraction.forward, len(extraction))), images)
    return obtain(extraction, cache)


def obtain(
    extraction: Extraction, cache: Path, check: Check = "whole", wanted: Int[Tensor, " b"] | None = None
) -> Features:
    """Loads the features from the cache, computing and storing them first if missing or damaged.

    Args:
        extraction: which features.
        cache: folder of the cache.
        check: "whole" verifies every byte now; "rows" leaves that to `Features.take`, row by row.
        wanted: indices of images that the entry should hold. An entry without one of them, because it could not be
            read, is built again, once. None: any entry will do.

    Raises:
        InputError: as `extract`.
        StoppedError: as `extract`.
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
        # Another process may have built the entry while this one waited.
        found = find(extraction, cache, check, wanted)
        if found is None:
            with evaluating(extraction.encoder):
                build(folder, cache / extraction.entry, extraction.forward, len(extraction))
            found = find(extraction, cache, check)
            assert found is not None, f"{cache / extraction.entry} changed while it was written"
    return found


def find(
    extraction: Extraction, cache: Path, check: Check = "whole", wanted: Int[Tensor, " b"] | None = None
) -> Features | None:
    """The features as the cache has them; None if they are missing or damaged. Computes nothing.

    Pooled vectors are also read from an entry that holds patches, unless `wanted` is given. Arguments as for `obtain`.
    """
    pooled = extraction.layout == "pooled"
    # This process's own folder comes first: an entry lies there because the cache's was missing or damaged.
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
        if check == "rows":  # for the teacher cache, which needs no labels; each costs a look-up
            features.sums = stored[0].get("sums")
            return features
        return _labelled(features, extraction.images)
    return None


def _features(arrays: NamedArrays, tally: Tally) -> Features:
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
