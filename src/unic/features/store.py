"""Entries of the feature cache as they are built: batch by batch, continued after a kill, visible when whole.

Until an entry is whole it lies in `.unfinished/`, under a lock of the operating system, which a killed process lets go
of; its `record.json` says how far it is.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from unic._scratch import READ_ONLY
from unic.errors import FullDiskError, InputError, StoppedError
from unic.features.entry import Arrays, Damaged, Tally, publish, row_sums, summed, write_json
from unic.features.rows import RowFiles
from unic.quantities import gigabytes
from unic.tokens import Grid

_RECORD_EVERY = 60.0  # seconds; what a kill costs at most


@dataclass(frozen=True)
class Part:
    """What one batch gives: rows of each array, by name; no arrays where all of its images are damaged."""

    arrays: Mapping[str, np.ndarray]
    grid: Grid | None
    damaged: list[Damaged]


class ReadOnlyError(Exception):
    """What is in a cache can be read, and this user may add nothing."""


Parts = Callable[[int], Iterator[Part]]  # of the images from this number of them on


def advance(tally: Tally, part: Part) -> None:
    """Adds a batch to what was gone over."""
    rows = len(part.arrays["index"]) if part.arrays else 0
    tally.images += rows + len(part.damaged)
    tally.rows += rows
    tally.grid = part.grid or tally.grid
    tally.damaged += part.damaged


def collect(parts: Parts, num_images: int) -> tuple[Arrays, Tally]:
    """All parts in memory. Arrays are made for all images at once: joining parts at the end takes twice the room."""
    arrays: Arrays = {}
    tally = Tally()
    for part in parts(0):
        for name, values in part.arrays.items():
            if name not in arrays:
                arrays[name] = np.empty((num_images, *values.shape[1:]), values.dtype)
            arrays[name][tally.rows : tally.rows + len(values)] = values
        advance(tally, part)
    return {name: values[: tally.rows] for name, values in arrays.items()}, tally


@contextmanager
def building(cache: Path, name: str) -> Iterator[Path]:
    """The folder for `build`. Waits as long as another process builds the same entry.

    Raises:
        ReadOnlyError: this user may not write there.
        InputError: it is no folder.
        StoppedError: nothing can be written there.
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
        ReadOnlyError: this user may not write there.
        StoppedError: it does not fit on the disk.
    """
    with RowFiles(folder) as files:
        tally = _resume(folder, files)
        recorded = time.monotonic()
        for part in parts(tally.images):
            with _writing(target.parent):
                arrays = dict(part.arrays)
                if arrays:
                    arrays["sums"] = np.stack([row_sums(arrays[name]) for name in summed(arrays)], axis=1)
                if arrays and not tally.rows:
                    _check_room(target.parent, arrays, num_images)
                files.append(arrays)
                advance(tally, part)
                if tally.rows and time.monotonic() - recorded >= _RECORD_EVERY:
                    files.sync(tally.rows)
                    write_json(folder / "record.json", asdict(tally) | {"headers": files.headers})
                    recorded = time.monotonic()
        with _writing(target.parent):
            files.sync(tally.rows)
    with _writing(target.parent):
        publish(folder, target, tally)


def _resume(folder: Path, files: RowFiles) -> Tally:
    """What an interrupted process left, if it is sound; else nothing, and the folder is empty."""
    try:
        record = json.loads((folder / "record.json").read_text())
        tally = Tally.from_json(record)
        if tally.rows and not (folder / "sums.npy").exists():
            raise ValueError(f"{folder} was begun by an earlier version")
        files.resume(tally.rows, record.get("headers"))
        return tally
    except Exception:  # whatever is wrong with it, it can be made again
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        return Tally()


def _check_room(cache: Path, arrays: Arrays, num_images: int) -> None:
    """Before hours of work. What else fills the disk meanwhile is an error when it happens."""
    needed, free = num_images * sum(values[0].nbytes for values in arrays.values()), shutil.disk_usage(cache).free
    if needed > free:
        hint = ", or keep pooled patches" if "patches" in arrays else ""
        raise FullDiskError(
            f"feature cache {cache}: {gigabytes(needed)} needed, {gigabytes(free)} free; "
            f"set UNIC_CACHE to another disk{hint}"
        )


@contextmanager
def _writing(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in READ_ONLY:
            raise ReadOnlyError from None
        kind = InputError if isinstance(error, NotADirectoryError | FileExistsError) else StoppedError
        raise kind(f"feature cache {cache}: cannot write there ({error.strerror}); set UNIC_CACHE") from None
