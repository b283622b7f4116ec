"""Writing of an entry of the feature cache: batch by batch, resumed after a kill, published when complete.

An incomplete entry lies in `.unfinished/` under a lock of the operating system, which releases it when the process is
killed. Its `record.json` says how many images are done.
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
from unic.data.batch import DamagedImage
from unic.errors import FullDiskError, InputError, StoppedError
from unic.features.entry import NamedArrays, Tally, publish, row_sums, summed, write_json
from unic.features.rows import RowFiles
from unic.quantities import gigabytes
from unic.tokens import Grid

_RECORD_EVERY = 60.0  # seconds, the most work that a kill loses


@dataclass(frozen=True)
class BatchFeatures:
    """Features of one batch.

    Attributes:
        arrays: rows of each array, by name; empty if all images of the batch are damaged.
        grid: rows and columns of the patches; None without patches.
        damaged: the images that could not be read.
    """

    arrays: Mapping[str, np.ndarray]
    grid: Grid | None
    damaged: list[DamagedImage]


class ReadOnlyError(Exception):
    """This user may read the cache but not write to it."""


ForwardPass = Callable[[int], Iterator[BatchFeatures]]
"""Yields the features of each batch, from the image at this index on."""


def advance(tally: Tally, batch: BatchFeatures) -> None:
    """Counts a batch as done."""
    rows = len(batch.arrays["index"]) if batch.arrays else 0
    tally.images += rows + len(batch.damaged)
    tally.rows += rows
    tally.grid = batch.grid or tally.grid
    tally.damaged += batch.damaged


def collect(forward: ForwardPass, num_images: int) -> tuple[NamedArrays, Tally]:
    """The features of all batches in memory."""
    arrays: NamedArrays = {}  # allocated for all images at once: joining batches at the end needs twice the memory
    tally = Tally()
    for batch in forward(0):
        for name, values in batch.arrays.items():
            if name not in arrays:
                arrays[name] = np.empty((num_images, *values.shape[1:]), values.dtype)
            arrays[name][tally.rows : tally.rows + len(values)] = values
        advance(tally, batch)
    return {name: values[: tally.rows] for name, values in arrays.items()}, tally


@contextmanager
def building(cache: Path, name: str) -> Iterator[Path]:
    """The locked folder in which `build` writes an entry. Waits while another process builds the same entry.

    Args:
        cache: folder of the cache.
        name: name of the entry.

    Raises:
        ReadOnlyError: this user may not write to the cache.
        InputError: `cache` is not a folder.
        StoppedError: the cache cannot be written for another reason.
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


def build(folder: Path, target: Path, forward: ForwardPass, num_images: int) -> None:
    """Writes an entry, resuming an interrupted one, and moves it to `target`.

    Args:
        folder: from `building`.
        target: folder of the complete entry.
        forward: gives the features.
        num_images: number of images in all, for the check of the free space.

    Raises:
        ReadOnlyError: this user may not write to the cache.
        StoppedError: the entry does not fit on the disk.
    """
    with RowFiles(folder) as files:
        tally = _resume(folder, files)
        recorded = time.monotonic()
        for batch in forward(tally.images):
            with _writing(target.parent):
                arrays = dict(batch.arrays)
                if arrays:
                    arrays["sums"] = np.stack([row_sums(arrays[name]) for name in summed(arrays)], axis=1)
                if arrays and not tally.rows:
                    _check_room(target.parent, arrays, num_images)
                files.append(arrays)
                advance(tally, batch)
                if tally.rows and time.monotonic() - recorded >= _RECORD_EVERY:
                    files.sync(tally.rows)
                    write_json(folder / "record.json", asdict(tally) | {"headers": files.headers})
                    recorded = time.monotonic()
        with _writing(target.parent):
            files.sync(tally.rows)
    with _writing(target.parent):
        publish(folder, target, tally)


def _resume(folder: Path, files: RowFiles) -> Tally:
    """Opens the files of an interrupted process and returns its tally; empties the folder if they are damaged."""
    try:
        record = json.loads((folder / "record.json").read_text())
        tally = Tally.from_json(record)
        if tally.rows and not (folder / "sums.npy").exists():
            raise ValueError(f"{folder} comes from an earlier version")
        files.resume(tally.rows, record.get("headers"))
        return tally
    except Exception:  # damaged files raise many kinds; the entry can be built again
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        return Tally()


def _check_room(cache: Path, arrays: NamedArrays, num_images: int) -> None:
    """Raises `FullDiskError` if the whole entry does not fit on the disk. `arrays`: those of the first batch."""
    needed = num_images * sum(values[0].nbytes for values in arrays.values())
    free = shutil.disk_usage(cache).free
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
        raise kind(
            f"feature cache {cache}: cannot write there ({error.strerror}); set UNIC_CACHE to another folder"
        ) from None
