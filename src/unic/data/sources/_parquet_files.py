"""Reading of columns of Parquet files, which may come from strangers: none of them can fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unic.data.sources._columns import SAMPLE
from unic.errors import InputError, in_one_line

_ROWS = 1024  # most rows that are read at a time
_ROOM, _INFLATED = 1 << 30, 20  # a column may take so many bytes in memory, or so many times the size of its file


def check_parquet(path: str, file: Path) -> None:
    """Refuses a file that claims more rows than it has bytes: they would fill the memory.

    Raises:
        InputError: the file claims too many rows, or is not a Parquet file.
    """
    try:
        rows = pq.read_metadata(file).num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"data '{file}': not a Parquet file ({in_one_line(error)})") from None
    if rows > (size := file.stat().st_size):
        raise InputError(f"data '{path}': {file.name} claims {rows} rows in {size} bytes")


def read_column(path: str, file: Path, column: str) -> pa.Table:
    """Reads a column of a file in small pieces, so that a decompression bomb is noticed in time.

    Raises:
        InputError: the file is damaged, or the column grows far beyond the size of its file.
    """
    most = max(_ROOM, _INFLATED * file.stat().st_size)
    batches, size = [], 0
    try:
        with pq.ParquetFile(file) as opened:
            # No threads: a thread pool must not exist when worker processes are forked.
            for batch in opened.iter_batches(rows_at_once(opened.metadata, most), columns=[column], use_threads=False):
                size += batch.nbytes
                batches.append(batch)
                if size > most:
                    break
            schema = batches[0].schema if batches else opened.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"data '{path}': {file.name} is damaged ({in_one_line(error)})") from None
    if size > most:
        text = f"its column '{column}' grows from {file.stat().st_size} bytes to more than {most}"
        raise InputError(f"data '{path}': {file.name}: {text}")
    return pa.Table.from_batches(batches, schema) if batches else opened.schema_arrow.empty_table().select([column])


def rows_at_once(metadata: Any, most: int) -> int:
    """Number of rows to read at a time, so that they fit into `most` bytes if each is as large as the largest chunk."""
    largest = max((chunk.total_uncompressed_size for chunk in _chunks(metadata)), default=1)
    return max(1, min(_ROWS, most // max(1, largest)))


def _chunks(metadata: Any) -> Iterator[Any]:
    """Metadata of every column of every row group."""
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    return (group.column(column) for group in groups for column in range(group.num_columns))


def peek(path: str, file: Path, names: list[str]) -> dict[str, list[Any]]:
    """The first values of some columns of a file. Raises `InputError` if the file is damaged."""
    try:
        with pq.ParquetFile(file) as opened:
            return first_values(opened, names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"data '{path}': {file.name} is damaged ({in_one_line(error)})") from None


def first_values(opened: pq.ParquetFile, names: list[str]) -> dict[str, list[Any]]:
    """The first values of some columns of an open file."""
    rows = min(SAMPLE, rows_at_once(opened.metadata, _ROOM))
    for batch in opened.iter_batches(rows, columns=names, use_threads=False):
        return {name: batch.column(name).to_pylist() for name in names}
    return {name: [] for name in names}


def holds_nulls(file: Path, column: str) -> bool:
    """Whether a column may hold nulls, by the statistics in the file; True if the file has none for the column."""
    chunks = _chunks(pq.read_metadata(file))
    statistics = [chunk.statistics for chunk in chunks if chunk.path_in_schema == column]
    return not statistics or any(known is None or not known.has_null_count or known.null_count for known in statistics)


def schema_of(file: Path) -> pa.Schema:
    """The schema of a file. Raises `InputError` if it is not a Parquet file."""
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"data '{file}': not a Parquet file ({in_one_line(error)})") from None
