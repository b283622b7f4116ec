"""Tokens of an encoder over a whole set of images, from one forward pass, kept on disk by content.

The cache key is a hash of the encoder, the images and the view; a wrong entry can therefore not be named. An entry that
is damaged is built again, one that is incomplete is finished. Evaluation reads pooled vectors, distillation also
patches (its teacher cache is one call per teacher and view).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unic._feature_store import Arrays, Damaged, Part, Tally, build, building, collect, load
from unic.data import augment as augmentations
from unic.data.cache_dir import default_cache_dir as default_cache_dir
from unic.data.loader import Batch, view_batches
from unic.data.sources import Source
from unic.encoders.base import Encoder
from unic.errors import InputError
from unic.tokens import Grid, Tokens

_FORMAT = 1  # raise it when the meaning of a stored number changes

Dtype = Literal["fp16", "fp32"]
Progress = Callable[[int, int], None]


@dataclass
class Features:
    """Tokens of n images (those of the set that could be read, in its order).

    Attributes:
        cls: `(n, D)` float32. From the cache it is on a memory map if it is large, as every array here may be.
        patch_mean: `(n, E)` float32, mean of the patches on the encoder's own grid.
        index: `(n,)` int64, ascending: the number of each image in its set.
        labels: `(n,)` int64, or None if any of the images is unlabelled.
        classes: names of the classes.
        patches: `(n, N, E)` float16 or float32, `N = grid[0] * grid[1]`; on a memory map when cached.
        grid: rows and columns of `patches`.
        damaged: (index, name, reason) of the images that are missing.
    """

    cls: np.ndarray
    patch_mean: np.ndarray
    index: np.ndarray
    labels: np.ndarray | None = None
    classes: list[str] | None = None
    patches: np.ndarray | None = None
    grid: Grid | None = None
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

    def tokens(self, index: Int[Tensor, " b"]) -> Tokens:
        """Tokens of some images on the CPU; without `patches` the mean of the patches stands on a 1 × 1 grid."""
        rows = self.rows(index).numpy()
        cls = torch.from_numpy(self.cls[rows])
        if self.patches is None or self.grid is None:
            return Tokens(cls, torch.from_numpy(self.patch_mean[rows])[:, None], (1, 1))
        return Tokens(cls, torch.from_numpy(np.asarray(self.patches[rows])), self.grid)


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
        size: side of the square view, which the encoder resizes itself; None: the centre square at the encoder's own
            input size.
        augment, seed, view: the augmented view, for `augment` other than "none".
        patch_grid: also keep the patches: on the encoder's own grid, or resized to this one.
        blocks: take the tokens after these blocks (0-based, see `Encoder.intermediates`), their channels side by side
            on the grid of the last one, in place of the encoder's output.
        cache: folder to keep the result in and to look for it; None: only in memory. Of processes that want the same
            one computes and the others wait.
        dtype: of the patches; `cls` and `patch_mean` are always float32.
        progress: called with (images done, images in all) after every batch.

    Raises:
        InputError: the output is not finite, does not fit the dtype, or does not fit on the disk.
    """
    job = _Job(
        encoder, images, size, augment, seed, view, patch_grid, tuple(blocks), batch_size, workers, dtype, progress
    )
    if cache is None:
        with _evaluating(encoder):
            return job.labelled(*collect(job.parts, len(images)))
    key, layout = job.key(), job.layout()
    stored = _find(cache, key, layout)
    if stored is None:
        name = f"{key}-{layout}"
        with building(cache, name) as folder:
            stored = _find(cache, key, layout)  # another process may have built it while this one waited
            if stored is None:
                with _evaluating(encoder):
                    build(folder, cache / name, job.parts, len(images))
                stored = load(cache / name)
                assert stored is not None, f"{cache / name} changed while it was written"
    return job.labelled(*stored)


def _find(cache: Path, key: str, layout: str) -> tuple[Arrays, Tally] | None:
    """An entry that can answer: the one asked for, and for pooled vectors any that also holds patches."""
    others = sorted(cache.glob(f"{key}-*-fp*")) if layout == "pooled" else []
    return next(filter(None, map(load, [cache / f"{key}-{layout}", *others])), None)


@dataclass(frozen=True)
class _Job:
    encoder: Encoder
    images: Source
    size: int | None
    augment: str
    seed: int
    view: int
    patch_grid: Grid | Literal["own"] | None
    blocks: tuple[int, ...]
    batch_size: int
    workers: int
    dtype: Dtype
    progress: Progress | None

    def key(self) -> str:
        """Hash of everything that decides the values; how many of them are kept is the layout."""
        view = augmentations.preset(self.augment)
        drawn = (self.seed, self.view) if view.is_random else None
        size = self.size or self.encoder.input_size
        described: tuple[Any, ...] = (
            _FORMAT, self.encoder.fingerprint(), self.images.fingerprint(), size, repr(view), drawn
        )  # fmt: skip
        described += (self.blocks,) if self.blocks else ()
        return hashlib.sha256(repr(described).encode()).hexdigest()[:24]

    def layout(self) -> str:
        if self.patch_grid is None:
            return "pooled"
        grid = "own" if self.patch_grid == "own" else f"{self.patch_grid[0]}x{self.patch_grid[1]}"
        return f"{grid}-{self.dtype}"

    def batches(self, first: int) -> Iterator[Batch]:
        return view_batches(
            self.images, size=self.size or self.encoder.input_size, augment=self.augment, seed=self.seed,
            view=self.view, batch_size=self.batch_size, workers=self.workers, first=first,
        )  # fmt: skip

    def tokens(self, views: Tensor) -> Tokens:
        if not self.blocks:
            return self.encoder(views).float()
        levels = self.encoder.intermediates(views, self.blocks)
        grid = levels[-1].grid
        cls = torch.cat([level.cls for level in levels], dim=1)
        patches = torch.cat([level.to_grid(grid).patches for level in levels], dim=2)
        return Tokens(cls, patches, grid).float()

    def parts(self, first: int) -> Iterator[Part]:
        """The forward pass over the images from number `first` on, batch by batch."""
        done = Tally(images=first)
        for batch in self.batches(first):
            part = self.part(batch)
            yield part
            done.add(part)
            if self.progress is not None:
                self.progress(done.images, len(self.images))
        if not first and not done.rows:
            reason = f"; {done.damaged[0][1]}: {done.damaged[0][2]}" if done.damaged else ""
            raise InputError(f"data '{self.images.path}': no image of it can be read{reason}")

    def part(self, batch: Batch) -> Part:
        if not len(batch):
            return Part({}, None, batch.damaged)
        images = batch.images.to(self.encoder.mean.device)
        views = augmentations.preset(self.augment)(images, self.seed, batch.epoch, batch.index)
        tokens = self.tokens(views)
        arrays = {
            "cls": self._checked(tokens.cls, batch),
            "patch_mean": self._checked(tokens.patch_mean(), batch),
            "index": batch.index.numpy(),
        }
        if self.patch_grid is None:
            return Part(arrays, None, batch.damaged)
        tokens = tokens if self.patch_grid == "own" else tokens.to_grid(self.patch_grid)
        arrays["patches"] = self._checked(tokens.patches, batch, self.dtype)
        return Part(arrays, tokens.grid, batch.damaged)

    def _checked(self, values: Float[Tensor, "b ..."], batch: Batch, dtype: Dtype = "fp32") -> np.ndarray:
        array = values.to(torch.float16 if dtype == "fp16" else torch.float32).cpu().numpy()
        wrong = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if wrong.any():
            name = self.images.name(int(batch.index[int(wrong.argmax())]))
            hint = " or its patches do not fit fp16 (use fp32)" if dtype == "fp16" else ""
            raise InputError(f"{self.encoder.uri or 'encoder'}: its output for {name} is not finite{hint}")
        return array

    def labelled(self, arrays: Arrays, tally: Tally) -> Features:
        """The result with labels, which belong to the images and are not stored."""
        features = Features(arrays["cls"], arrays["patch_mean"], arrays["index"], damaged=tally.damaged)
        if self.patch_grid is not None:
            features.patches, features.grid = arrays["patches"], tally.grid
        if self.images.classes is not None:
            labels = [self.images.label(index) for index in features.index.tolist()]
            if None not in labels:
                features.labels = np.array(labels, dtype=np.int64)
                features.classes = self.images.classes
        return features


@contextmanager
def _evaluating(encoder: Encoder) -> Iterator[None]:
    """Evaluation mode, undone module by module (a student in training may hold frozen parts), and no gradients."""
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
