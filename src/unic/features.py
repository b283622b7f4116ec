"""Tokens of an encoder over a whole set of images, from one forward pass, kept on disk by content.

The cache key is a hash of the encoder, the images and the view; a wrong entry can therefore not be named, and an entry
that is incomplete or damaged is built again. Evaluation reads pooled vectors, distillation also patches (its teacher
cache is one call per teacher and view).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unic.data import augment as augmentations
from unic.data.loader import Batch, view_batches
from unic.data.sources import Source
from unic.encoders.base import Encoder
from unic.errors import InputError
from unic.tokens import Grid, Tokens

_FORMAT = 1  # raise it when the meaning of a stored number changes
_HASHED_WHOLE = 1 << 30  # bytes; of larger files only blocks are hashed
_BLOCK = 1 << 20

Dtype = Literal["fp16", "fp32"]
Progress = Callable[[int, int], None]


@dataclass
class Features:
    """Tokens of n images (those of the set that could be read, in its order).

    Attributes:
        cls: `(n, D)` float32.
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
    damaged: list[tuple[int, str, str]] = field(default_factory=list)

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


def default_cache_dir() -> Path:
    """`$UNIC_CACHE`, else `~/.cache/unic`, else a folder of this user below the temporary one."""
    if os.environ.get("UNIC_CACHE"):
        return Path(os.environ["UNIC_CACHE"])
    try:
        folder = Path.home() / ".cache" / "unic"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: no home directory at all
        pass
    return Path(tempfile.gettempdir()) / f"unic-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


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
        cache: folder to keep the result in and to look for it; None: only in memory.
        dtype: of the patches; `cls` and `patch_mean` are always float32.
        progress: called with (images done, images in all) after every batch.

    Raises:
        InputError: the output is not finite, does not fit the dtype, or does not fit on the disk.
    """
    job = _Job(
        encoder, images, size, augment, seed, view, patch_grid, tuple(blocks), batch_size, workers, dtype, progress
    )
    if cache is None:
        return job.labelled(job.run(None))
    name = job.key()
    for entry in _candidates(cache, name, job.layout()):
        features = _load(entry)
        if features is not None:
            if patch_grid is None:
                features.patches, features.grid = None, None
            return job.labelled(features)
    target = cache / f"{name}-{job.layout()}"
    with _temporary(cache, target.name) as folder:
        _save(folder, job.run(folder))
        _publish(folder, target)
    features = _load(target)
    assert features is not None, f"{target} changed while it was written"
    return job.labelled(features)


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

    def batches(self) -> Iterator[Batch]:
        return view_batches(
            self.images, size=self.size or self.encoder.input_size, augment=self.augment, seed=self.seed,
            view=self.view, batch_size=self.batch_size, workers=self.workers,
        )  # fmt: skip

    def tokens(self, views: Tensor) -> Tokens:
        if not self.blocks:
            return self.encoder(views).float()
        levels = self.encoder.intermediates(views, self.blocks)
        grid = levels[-1].grid
        cls = torch.cat([level.cls for level in levels], dim=1)
        patches = torch.cat([level.to_grid(grid).patches for level in levels], dim=2)
        return Tokens(cls, patches, grid).float()

    def run(self, folder: Path | None) -> Features:
        """The forward pass. Patches go to a memory map in `folder` batch by batch, the small vectors to memory."""
        augmentation = augmentations.preset(self.augment)
        device = self.encoder.mean.device
        cls, patch_mean, index, damaged = [], [], [], []
        patches: np.ndarray | None = None
        grid: Grid | None = None
        done = seen = 0
        with _evaluating(self.encoder), torch.no_grad():
            for batch in self.batches():
                damaged += batch.damaged
                seen += len(batch) + len(batch.damaged)
                if len(batch):
                    views = augmentation(batch.images.to(device), self.seed, batch.epoch, batch.index)
                    tokens = self.tokens(views)
                    cls.append(self._checked(tokens.cls, batch, np.float32))
                    patch_mean.append(self._checked(tokens.patch_mean(), batch, np.float32))
                    index.append(batch.index.numpy())
                    if self.patch_grid is not None:
                        tokens = tokens if self.patch_grid == "own" else tokens.to_grid(self.patch_grid)
                        grid = tokens.grid
                        kind = np.float16 if self.dtype == "fp16" else np.float32
                        values = self._checked(tokens.patches, batch, kind)
                        if patches is None:
                            patches = _allocate(folder, (len(self.images), *values.shape[1:]), kind)
                        patches[done : done + len(batch)] = values
                    done += len(batch)
                if self.progress is not None:
                    self.progress(seen, len(self.images))
        if not done:
            reason = f"; {damaged[0][1]}: {damaged[0][2]}" if damaged else ""
            raise InputError(f"data '{self.images.path}': no image of it can be read{reason}")
        patches = None if patches is None else patches[:done]
        return Features(
            np.concatenate(cls), np.concatenate(patch_mean), np.concatenate(index), patches=patches, grid=grid,
            damaged=damaged,
        )  # fmt: skip

    def _checked(self, values: Float[Tensor, "b ..."], batch: Batch, kind: type[np.floating]) -> np.ndarray:
        array = values.cpu().numpy()
        with np.errstate(over="ignore"):
            array = array.astype(kind)
        wrong = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if wrong.any():
            name = self.images.name(int(batch.index[int(wrong.argmax())]))
            hint = " or its patches do not fit fp16 (use fp32)" if kind is np.float16 else ""
            raise InputError(f"{self.encoder.uri or 'encoder'}: its output for {name} is not finite{hint}")
        return array

    def labelled(self, features: Features) -> Features:
        """Adds labels, which belong to the images and are not stored."""
        if self.images.classes is not None:
            labels = [self.images.label(index) for index in features.index.tolist()]
            if None not in labels:
                features.labels = np.array(labels, dtype=np.int64)
                features.classes = self.images.classes
        return features


@contextmanager
def _evaluating(encoder: Encoder) -> Iterator[None]:
    """Evaluation mode, undone module by module: a student in training may hold frozen parts."""
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _candidates(cache: Path, name: str, layout: str) -> list[Path]:
    """Entries that can answer: the one asked for, and for pooled vectors any that also holds patches."""
    exact = cache / f"{name}-{layout}"
    return [exact, *sorted(cache.glob(f"{name}-*-fp*"))] if layout == "pooled" else [exact]


def _allocate(folder: Path | None, shape: tuple[int, ...], kind: type[np.floating]) -> np.ndarray:
    if folder is None:
        return np.empty(shape, kind)
    needed, free = int(np.prod(shape)) * np.dtype(kind).itemsize, shutil.disk_usage(folder).free
    if needed > free:  # a memory map on a full disk dies with a signal, not with an exception
        raise InputError(
            f"feature cache {folder.parent}: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free; "
            "set UNIC_CACHE to another disk, or keep pooled patches"
        )
    return np.lib.format.open_memmap(folder / "patches.npy", mode="w+", dtype=kind, shape=shape)


@contextmanager
def _temporary(cache: Path, name: str) -> Iterator[Path]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
    except OSError as error:
        raise InputError(f"feature cache {cache}: cannot write there ({error.strerror}); set UNIC_CACHE") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _save(folder: Path, features: Features) -> None:
    """Writes arrays and then `meta.json`, which names the size and hash of each."""
    for name in ("cls", "patch_mean", "index"):
        np.save(folder / f"{name}.npy", getattr(features, name), allow_pickle=False)
    if isinstance(features.patches, np.memmap):
        features.patches.flush()
    files = sorted(folder.glob("*.npy"))
    meta = {
        "rows": len(features),
        "grid": features.grid,
        "damaged": features.damaged,
        "files": {file.name: {"size": file.stat().st_size, "sha256": _hash(file)} for file in files},
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))
    for file in (*files, folder / "meta.json"):  # a rename must not reach the disk before the content
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())


def _publish(folder: Path, target: Path) -> None:
    """Makes a finished entry visible in one step; what was there is damaged, or another process was faster."""
    if _load(target) is not None:
        return
    shutil.rmtree(target, ignore_errors=True)
    try:
        folder.rename(target)
    except OSError:  # another process published between the two lines above
        if _load(target) is None:
            raise


def _load(entry: Path) -> Features | None:
    """A complete entry whose files have the sizes and hashes they were written with, else None."""
    try:
        meta: dict[str, Any] = json.loads((entry / "meta.json").read_text())
        for name, expected in meta["files"].items():
            file = entry / name
            if file.stat().st_size != expected["size"] or _hash(file) != expected["sha256"]:
                return None
        arrays = {name: np.load(entry / f"{name}.npy", allow_pickle=False) for name in ("cls", "patch_mean", "index")}
        patches = None
        if meta["grid"] is not None:
            # Copy on write: torch refuses to wrap read-only memory without a warning.
            patches = np.load(entry / "patches.npy", mmap_mode="c", allow_pickle=False)[: meta["rows"]]
        grid = None if meta["grid"] is None else (meta["grid"][0], meta["grid"][1])
        damaged = [(int(index), str(name), str(reason)) for index, name, reason in meta["damaged"]]
        return Features(**arrays, patches=patches, grid=grid, damaged=damaged)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hash(file: Path) -> str:
    """SHA-256 of a file; above 1 GiB of 256 blocks spread over it, which finds what was never written."""
    size = file.stat().st_size
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        if size <= _HASHED_WHOLE:
            while block := stream.read(_BLOCK):
                digest.update(block)
        else:
            for place in range(256):
                stream.seek((size - _BLOCK) * place // 255)
                digest.update(stream.read(_BLOCK))
    return digest.hexdigest()
