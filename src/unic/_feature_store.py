"""Entries of the feature cache: built batch by batch, continued after a kill, visible when whole.

An entry is a folder of .npy files and `meta.json`, which has the size and hash of each. Until it is whole it lies in
`.unfinished/`, under a lock of the operating system, which a killed process lets go of; its `record.json` says how far
it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from unic._row_files import RowFiles
from unic.errors import InputError
from unic.tokens import Grid

Arrays = dict[str, np.ndarray]
Damaged = tuple[int, str, str]  # number, name, reason

_VECTORS = ("cls", "patch_mean", "index")  # what every entry has
_MAPPED = 256 << 20  # bytes; larger arrays are opened on a memory map, and patches of any size
_RECORD_EVERY = 60.0  # seconds; what a kill costs at most
_HASHED_WHOLE = 1 << 30  # bytes; of larger files only blocks are hashed
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Part:
    """What one batch gives: rows of each array, by name; no arrays where all of its images are damaged."""

    arrays: Mapping[str, np.ndarray]
    grid: Grid | None
    damaged: list[Damaged]


Parts = Callable[[int], Iterator[Part]]  # of the images from this number on


@dataclass
class Tally:
    """How many images were gone over, how many rows were made of them, and what is known beside the arrays."""

    images: int = 0
    rows: int = 0
    grid: Grid | None = None
    damaged: list[Damaged] = field(default_factory=list)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Tally:
        grid = None if stored["grid"] is None else (int(stored["grid"][0]), int(stored["grid"][1]))
        damaged = [(int(index), str(name), str(reason)) for index, name, reason in stored["damaged"]]
        return cls(int(stored.get("images", 0)), int(stored["rows"]), grid, damaged)

    def add(self, part: Part) -> None:
        rows = len(part.arrays["index"]) if part.arrays else 0
        self.images += rows + len(part.damaged)
        self.rows += rows
        self.grid = part.grid or self.grid
        self.damaged += part.damaged


def collect(parts: Parts, num_images: int) -> tuple[Arrays, Tally]:
    """All parts in memory. Arrays are made for all images at once: joining parts at the end takes twice the room."""
    arrays: Arrays = {}
    tally = Tally()
    for part in parts(0):
        for name, values in part.arrays.items():
            if name not in arrays:
                arrays[name] = np.empty((num_images, *values.shape[1:]), values.dtype)
            arrays[name][tally.rows : tally.rows + len(values)] = values
        tally.add(part)
    return {name: values[: tally.rows] for name, values in arrays.items()}, tally


@contextmanager
def building(cache: Path, name: str) -> Iterator[Path]:
    """The folder for `build`. Waits as long as another process builds the same entry.

    Raises:
        InputError: nothing can be written there.
    """
    folder = cache / ".unfinished" / name
    with ExitStack() as stack:
        with _writing(cache):
            folder.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(f"{folder}.lock"))
            folder.mkdir(exist_ok=True)
        try:
            yield folder
        finally:
            if not (folder / "record.json").is_file():
                shutil.rmtree(folder, ignore_errors=True)


def build(folder: Path, target: Path, parts: Parts, num_images: int) -> None:
    """Writes an entry, from where an interrupted process left it, and moves it to `target`.

    Raises:
        InputError: it does not fit on the disk.
    """
    with RowFiles(folder) as files:
        tally = _resume(folder, files)
        recorded = time.monotonic()
        for part in parts(tally.images):
            with _writing(target.parent):
                if part.arrays and not tally.rows:
                    _check_room(target.parent, part, num_images)
                files.append(part.arrays)
                tally.add(part)
                if tally.rows and time.monotonic() - recorded >= _RECORD_EVERY:
                    files.sync(tally.rows)
                    _write_json(folder / "record.json", asdict(tally))
                    recorded = time.monotonic()
        with _writing(target.parent):
            files.sync(tally.rows)
    with _writing(target.parent):
        _publish(folder, target, tally)


def _resume(folder: Path, files: RowFiles) -> Tally:
    """What an interrupted process left, if it is sound; else nothing, and the folder is empty."""
    try:
        tally = Tally.from_json(json.loads((folder / "record.json").read_text()))
        files.resume(tally.rows)
        return tally
    except (OSError, ValueError, KeyError, TypeError):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        return Tally()


def _check_room(cache: Path, part: Part, num_images: int) -> None:
    """Before hours of work. What else fills the disk meanwhile is an error when it happens."""
    needed, free = num_images * sum(values[0].nbytes for values in part.arrays.values()), shutil.disk_usage(cache).free
    if needed > free:
        hint = ", or keep pooled patches" if "patches" in part.arrays else ""
        raise InputError(
            f"feature cache {cache}: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free; "
            f"set UNIC_CACHE to another disk{hint}"
        )


@contextmanager
def _writing(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"feature cache {cache}: cannot write there ({error.strerror}); set UNIC_CACHE") from None


def _publish(folder: Path, target: Path, tally: Tally) -> None:
    """Makes the entry visible in one step; what is there already is damaged."""
    files = {file.name: {"size": file.stat().st_size, "sha256": _hash(file)} for file in sorted(folder.glob("*.npy"))}
    meta = {"rows": tally.rows, "grid": tally.grid, "damaged": tally.damaged, "files": files}
    _write_json(folder / "meta.json", meta)
    (folder / "record.json").unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    """The old content or the new one, whatever happens meanwhile."""
    written = file.with_suffix(".tmp")
    with written.open("w") as stream:
        json.dump(content, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    written.replace(file)


def load(entry: Path) -> tuple[Arrays, Tally] | None:
    """A complete entry whose files have the sizes and hashes they were written with, else None."""
    try:
        meta: dict[str, Any] = json.loads((entry / "meta.json").read_text())
        tally = Tally.from_json(meta)
        for name, expected in meta["files"].items():
            file = entry / name
            if file.stat().st_size != expected["size"] or _hash(file) != expected["sha256"]:
                return None
        names = _VECTORS if tally.grid is None else (*_VECTORS, "patches")
        return {name: _opened(entry / f"{name}.npy")[: tally.rows] for name in names}, tally
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _opened(file: Path) -> np.ndarray:
    mapped = file.stem == "patches" or file.stat().st_size > _MAPPED
    # Copy on write: torch refuses to wrap read-only memory without a warning.
    return np.load(file, mmap_mode="c" if mapped else None, allow_pickle=False)


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
