"""A complete entry of the feature cache: .npy files, and `meta.json` with their sizes and hashes.

An entry is opened in one of two ways. "whole" reads and hashes every file. "rows" checks the sizes, the headers and the
small files, and leaves the rest on memory maps. One of the small files is `sums.npy`: the sum of the 64-bit words of
each row of each array, with which `Features.take` verifies the rows that it reads. A sum detects any change within one
word of a row, a row that was never written, and a row of another image or entry. It guards against bad disks and
unfinished writes, not against an adversary.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unic.data.batch import DamagedImage
from unic.digest import sha256, sha256_of_each, sha256_of_file
from unic.files import write_text
from unic.tokens import Grid

NamedArrays = dict[str, np.ndarray]
Check = Literal["whole", "rows"]

_ALWAYS_READ = ("index.npy", "sums.npy")
_MAPPED = 256 << 20  # bytes from which an array is opened on a memory map; patches always are
_HASHED_WHOLE = 1 << 30  # bytes; only some blocks of a larger file are hashed
_BLOCK = 1 << 20  # bytes
_HEADER = 128  # bytes that numpy writes before the rows of an array


@dataclass
class Tally:
    """The state of an entry beside its arrays.

    Attributes:
        images: number of images done, damaged ones included.
        rows: number of rows written.
        grid: rows and columns of the patches; None without patches.
        damaged: the images that could not be read.
    """

    images: int = 0
    rows: int = 0
    grid: Grid | None = None
    damaged: list[DamagedImage] = field(default_factory=list)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Tally:
        grid = None if stored["grid"] is None else (int(stored["grid"][0]), int(stored["grid"][1]))
        damaged = [DamagedImage(int(index), str(name), str(reason)) for index, name, reason in stored["damaged"]]
        return cls(int(stored.get("images", 0)), int(stored["rows"]), grid, damaged)


def summed(arrays: Iterable[str]) -> list[str]:
    """Names of the arrays that have a column in `sums`, in the order of the columns."""
    return sorted(set(arrays) - {"index", "sums"})


def row_sums(values: np.ndarray) -> np.ndarray:
    """`(n,)` uint64: the sum of each row's bytes, read as words, modulo 2^64."""
    if not values.size:
        return np.zeros(len(values), np.uint64)
    flat = np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)
    word = next(size for size in (8, 4, 2, 1) if flat.shape[1] % size == 0)
    return flat.view(f"u{word}").sum(axis=1, dtype=np.uint64)


def publish(folder: Path, target: Path, tally: Tally) -> None:
    """Completes an entry in `folder` and moves it to `target`, replacing a damaged one.

    The old folder is moved aside before it is deleted: another process may have its files mapped, and NFS keeps files
    that are in use in their folder.
    """
    files = {
        file.name: {"size": file.stat().st_size, "sha256": _hash(file), "header": _hash_header(file)}
        for file in sorted(folder.glob("*.npy"))
    }
    meta = {"rows": tally.rows, "grid": tally.grid, "damaged": tally.damaged, "files": files}
    write_json(folder / "meta.json", meta)
    (folder / "record.json").unlink(missing_ok=True)
    aside = Path(tempfile.mkdtemp(prefix="old-", dir=folder.parent))
    try:
        if not _renamed(target, aside / "old"):
            shutil.rmtree(target, ignore_errors=True)
        if not _renamed(folder, target):
            shutil.copytree(folder, aside / "new")
            (aside / "new").rename(target)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _renamed(folder: Path, target: Path) -> bool:
    """Renames a folder if it exists. False: the file system cannot, as Docker's overlay for its lower layer."""
    try:
        folder.rename(target)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Writes a file whole or not at all. The caller must hold the lock of the entry."""
    write_text(file, json.dumps(content, indent=1), alone=True, synced=True)


def load(entry: Path, check: Check = "whole") -> tuple[NamedArrays, Tally] | None:
    """The arrays and the tally of a complete entry; None if it is missing or damaged.

    Args:
        entry: its folder.
        check: "whole" verifies every file; "rows" verifies little, and opens all but the small arrays on memory maps.
    """
    try:
        meta: dict[str, Any] = json.loads((entry / "meta.json").read_text())
        tally = Tally.from_json(meta)
        files = meta["files"]
        by_rows = check == "rows" and "sums.npy" in files  # entries of earlier versions have no sums
        for name, expected in files.items():
            file = entry / name
            if file.stat().st_size != expected["size"]:
                return None
            if (not by_rows or name in _ALWAYS_READ) and _hash(file) != expected["sha256"]:
                return None
            if by_rows and "header" in expected and _hash_header(file) != expected["header"]:
                return None
        if not tally.rows and not files:  # all images of a shard are damaged
            return {"cls": np.empty((0, 0)), "patch_mean": np.empty((0, 0)), "index": np.empty(0, np.int64)}, tally
        stems = {Path(name).stem for name in files}
        if not {"cls", "patch_mean", "index"} <= stems or (tally.grid is None) == ("patches" in stems):
            return None
        arrays = {stem: _opened(entry / f"{stem}.npy", by_rows)[: tally.rows] for stem in stems}
        is_whole = all(len(values) == tally.rows and values.dtype.isnative for values in arrays.values())
        return (arrays, tally) if is_whole else None
    except Exception:  # numpy raises many kinds for a damaged header; a damaged entry is built again
        return None


def _opened(file: Path, mapped: bool) -> np.ndarray:
    mapped = (mapped and file.name not in _ALWAYS_READ) or file.stem == "patches" or file.stat().st_size > _MAPPED
    # Copy on write: torch refuses to wrap read-only memory without a warning.
    return np.load(file, mmap_mode="c" if mapped else None, allow_pickle=False)


def _hash_header(file: Path) -> str:
    with file.open("rb") as stream:
        return sha256(stream.read(_HEADER))


def _hash(file: Path) -> str:
    """SHA-256 of a file; above 1 GiB, of 256 blocks spread over it, enough to notice a write that never ended."""
    is_small = file.stat().st_size <= _HASHED_WHOLE
    return sha256_of_file(file) if is_small else sha256_of_each(_some_blocks(file))


def _some_blocks(file: Path) -> Iterator[bytes]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        for place in range(256):
            stream.seek((size - _BLOCK) * place // 255)
            yield stream.read(_BLOCK)
