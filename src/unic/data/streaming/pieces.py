"""Pieces of a streamed set (a tar shard, or a row group of Parquet), downloaded as tar files to a local folder.

The folder holds a bounded number of pieces. All processes of a machine share it; under a lock, one fetches a piece.
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
from unic.data.sources._columns import TableColumns
from unic.data.sources._parquet_files import rows_at_once
from unic.data.streaming.remote import open_seekable, open_url
from unic.digest import sha256, sha256_of_file
from unic.errors import InputError, reason_of
from unic.files import written

_TRIES = 3
_LOCKS = 64  # lock files; pieces whose keys share one wait for each other
_MOST_AT_ONCE = 1 << 30  # bytes of a row group that are in memory at a time
_MOST_BYTES = 16 << 30  # bytes of a row group on the disk
_NO_TABLE = TableColumns("image")


class Piece(NamedTuple):
    """A tar shard, or a row group of a Parquet file.

    Attributes:
        url: URL of the file.
        images: number of images.
        group: index of the row group; -1 for a tar shard.
        sha256: of a shard, if a manifest has it.
    """

    url: str
    images: int
    group: int = -1
    sha256: str | None = None

    @property
    def name(self) -> str:
        file = self.url.rpartition("/")[2]
        return file if self.group < 0 else f"{file}#{self.group}"


class Shelf:
    """A folder of downloaded pieces. It holds about `room` of them at most: the last ones that were used.

    Args:
        path: path of the set, for messages.
        folder: created if missing; if it cannot be written, a temporary folder of this process replaces it.
        room: number of pieces.
        columns: columns of Parquet files.
    """

    def __init__(self, path: str, folder: Path, room: int, columns: TableColumns = _NO_TABLE) -> None:
        self.path, self.room, self.columns = path, room, columns
        self.folder = folder if can_write(folder) else scratch() / folder.name

    def get(self, piece: Piece) -> Path:
        """The piece as a local tar file, downloaded if missing. Raises `InputError` if a few tries fail."""
        from filelock import FileLock

        key = sha256(f"{piece.url}#{piece.group}")[:32]
        target = self.folder / f"{key}.tar"
        if not target.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f"{int(key, 16) % _LOCKS}.lock"):
                if not target.exists():
                    self._fetch(piece, target)
                    self._make_room()
        try:
            os.utime(target)
        except FileNotFoundError:  # another process has just made room
            return self.get(piece)
        return target

    def _fetch(self, piece: Piece, target: Path) -> None:
        for tried in range(_TRIES):
            try:
                with written(target, alone=True) as partial:
                    (_copy_shard if piece.group < 0 else self._copy_group)(piece, partial)
                return
            except InputError:
                raise
            except Exception as error:  # networks and stores raise every kind
                reason = reason_of(error, 200)
                if tried + 1 < _TRIES:
                    time.sleep(4**tried)
        raise InputError(f"data '{self.path}': {piece.url} cannot be fetched, tried {_TRIES} times ({reason})")

    def _copy_group(self, piece: Piece, partial: Path) -> None:
        """Writes the images and labels of a row group as a tar shard."""
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
                    tar.add(f"{row:08d}.png", data or b"")  # any format; empty data count as damaged when they are read
                    if label and labels[place] is not None:
                        tar.add(f"{row:08d}.cls", str(labels[place]).encode())
                    row += 1
                    if tar.tell() > _MOST_BYTES:
                        raise InputError(f"data '{self.path}': {piece.name} holds more than {_MOST_BYTES} bytes")
            tar.close()

    def _labels(self, column: pa.Array) -> list[int | None]:
        """The class index of each row; None for a row without a class."""
        if not self.columns.are_values:
            return column.to_pylist()
        values = _label_values.of_arrow(pa.chunked_array([column]))
        indices = _label_values.class_indices(values, self.columns.classes or [])
        return [None if index < 0 else index for index in indices.tolist()]

    def _make_room(self) -> None:
        """Deletes the pieces that have not been used for longest."""
        held = []
        for file in self.folder.glob("*.tar"):
            try:
                held.append((file.stat().st_mtime_ns, file))
            except FileNotFoundError:
                continue
        for _, file in sorted(held, reverse=True)[self.room :]:
            file.unlink(missing_ok=True)  # a process that has the file open can still read it


def _copy_shard(piece: Piece, partial: Path) -> None:
    """Downloads a tar shard and verifies its size and, if known, its hash."""
    with open_url(piece.url) as source, partial.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        length = getattr(source, "headers", {}).get("Content-Length")
    if length and length.isdigit() and partial.stat().st_size != int(length):
        raise OSError(f"{partial.stat().st_size} of {length} bytes arrived")
    if piece.sha256 and sha256_of_file(partial) != piece.sha256:
        raise OSError("its SHA-256 differs from the manifest's")
