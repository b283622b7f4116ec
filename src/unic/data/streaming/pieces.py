"""Pieces of a set that lies elsewhere (a tar shard, a row group of Parquet), each brought whole to the disk as a tar.

The disk holds a bounded number of them. Processes of one machine share it: a piece is fetched once, under a lock.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from unic._scratch import can_write, scratch
from unic.data.shards.tar import TarWriter
from unic.data.sources import _label_values
from unic.data.sources._columns import Columns
from unic.data.sources._parquet_files import rows_at_once
from unic.data.streaming.remote import open_seekable, open_url
from unic.digest import sha256, sha256_of_file
from unic.errors import InputError, reason_of
from unic.files import written

_TRIES = 3
_BUCKETS = 64  # of locks
_MOST_AT_ONCE, _MOST_BYTES = 1 << 30, 16 << 30  # bytes of a row group in memory, and of all of it on the disk


_NO_TABLE = Columns("image")


class Piece(NamedTuple):
    """`group`: of a Parquet file; -1: a tar shard. `sha256`: of the shard, where a manifest says it."""

    url: str
    images: int
    group: int = -1
    sha256: str | None = None

    @property
    def name(self) -> str:
        file = self.url.rpartition("/")[2]
        return file if self.group < 0 else f"{file}#{self.group}"


class Shelf:
    """A folder that holds at most about `room` pieces, those used last.

    Args:
        path: of the set, for messages.
        folder: made if need be; where it cannot be written, one of this process takes its place.
        columns: of Parquet.
    """

    def __init__(self, path: str, folder: Path, room: int, columns: Columns = _NO_TABLE) -> None:
        self.path, self.room, self.columns = path, room, columns
        self.folder = folder if can_write(folder) else scratch() / folder.name

    def get(self, piece: Piece) -> Path:
        """The piece as a local tar file. Raises `InputError` if it cannot be had after a few tries."""
        from filelock import FileLock

        key = sha256(f"{piece.url}#{piece.group}")[:32]
        target = self.folder / f"{key}.tar"
        if not target.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f"{int(key, 16) % _BUCKETS}.lock"):
                if not target.exists():
                    self._fetch(piece, target)
                    self._make_room()
        try:
            os.utime(target)
        except FileNotFoundError:  # another process has just made room
            return self.get(piece)
        return target

    def _fetch(self, piece: Piece, target: Path) -> None:
        for number in range(_TRIES):
            try:
                with written(target, alone=True) as partial:
                    (_copy_shard if piece.group < 0 else self._copy_group)(piece, partial)
                return
            except InputError:
                raise
            except Exception as error:  # networks and stores fail in every way
                reason = reason_of(error, 200)
                if number + 1 < _TRIES:
                    time.sleep(4**number)
        raise InputError(f"data '{self.path}': {piece.url} cannot be fetched, tried {_TRIES} times ({reason})")

    def _copy_group(self, piece: Piece, partial: Path) -> None:
        import pyarrow.parquet as pq

        image, label = self.columns.image, self.columns.label
        with open_seekable(piece.url) as file:
            names = [image, label] if label else [image]
            opened, tar, row = pq.ParquetFile(file), TarWriter(partial), 0
            at_once = rows_at_once(opened.metadata, _MOST_AT_ONCE)
            for batch in opened.iter_batches(at_once, row_groups=[piece.group], columns=names, use_threads=False):
                labels = self._labels(batch.column(label)) if label else []
                for place, value in enumerate(batch.column(image)):
                    value = value.as_py()
                    data = value.get("bytes") if isinstance(value, dict) else value
                    tar.add(f"{row:08d}.png", data or b"")  # of any format; empty: listed as damaged when it is read
                    if label and labels[place] is not None:
                        tar.add(f"{row:08d}.cls", str(labels[place]).encode())
                    row += 1
                    if tar.tell() > _MOST_BYTES:
                        raise InputError(f"data '{self.path}': {piece.name} grows to more than {_MOST_BYTES} bytes")
            tar.close()

    def _labels(self, column: pa.Array) -> list[int | None]:
        """A number for each row, or none."""
        if not self.columns.are_values:
            return column.to_pylist()
        values = _label_values.of_arrow(pa.chunked_array([column]))
        return [
            None if number < 0 else int(number)
            for number in _label_values.class_numbers(values, self.columns.classes or [])
        ]

    def _make_room(self) -> None:
        held = []
        for file in self.folder.glob("*.tar"):
            try:
                held.append((file.stat().st_mtime_ns, file))
            except FileNotFoundError:
                continue
        for _, file in sorted(held, reverse=True)[self.room :]:
            file.unlink(missing_ok=True)  # whoever reads it at this moment keeps what is open


def _copy_shard(piece: Piece, partial: Path) -> None:
    with open_url(piece.url) as source, partial.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        told = getattr(source, "headers", {}).get("Content-Length")
    if told and told.isdigit() and partial.stat().st_size != int(told):
        raise OSError(f"{partial.stat().st_size} of {told} bytes arrived")
    if piece.sha256 and sha256_of_file(partial) != piece.sha256:
        raise OSError("its SHA-256 is not that of the manifest")
