"""Parquet files as they come from strangers: their columns, read so that none of them can fill the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unic.data.sources._columns import SAMPLE
from unic.errors import InputError, in_one_line

_ROWS = 1024  # that are read at a time at most
_ROOM, _INFLATED = 1 << 30, 20  # bytes that any file may become in memory, and how many times its size a larger one


def check_parquet(path: str, file: Path) -> None:
    """Refuses a file that would fill the memory with rows that are not there: a byte on the disk for each at least.

    Raises:
        InputError: so many rows, or no Parquet file.
    """
    try:
        rows = pq.read_metadata(file).num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"data '{file}': not a Parquet file ({in_one_line(error)})") from None
    if rows > (size := file.stat().st_size):
        raise InputError(f"data '{path}': {file.name} claims {rows} rows in {size} bytes")


def read_column(path: str, file: Path, column: str) -> pa.Table:
    """A column of a file, read in small pieces, so that a file that inflates is noticed in time.

    Raises:
        InputError: its pages are damaged, or it holds much more than an archive of images does.
    """
    most = max(_ROOM, _INFLATED * file.stat().st_size)
    batches, size = [], 0
    try:
        with pq.ParquetFile(file) as opened:
            # No threads: a pool of threads must not exist before worker processes are forked.
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
    """Rows that are read at a time: any of them may be as large as the largest page of the file."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    largest = max((chunk.total_uncompressed_size for chunk in chunks), default=1)
    return max(1, min(_ROWS, most // max(1, largest)))


def peek(path: str, file: Path, names: list[str]) -> dict[str, list[Any]]:
    """The first values of some columns. Raises `InputError` if they are damaged."""
    try:
        with pq.ParquetFile(file) as opened:
            return first_values(opened, names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"data '{path}': {file.name} is damaged ({in_one_line(error)})") from None


def first_values(opened: pq.ParquetFile, names: list[str]) -> dict[str, list[Any]]:
    """The same of a file that is open."""
    rows = min(SAMPLE, rows_at_once(opened.metadata, _ROOM))
    for batch in opened.iter_batches(rows, columns=names, use_threads=False):
        return {name: batch.column(name).to_pylist() for name in names}
    return {name: [] for name in names}


def holds_nulls(file: Path, column: str) -> bool:
    """Whether a column may hold nulls, by what the file says; of a column that is not there: yes."""
    metadata = pq.read_metadata(file)
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    found = [chunk.statistics for chunk in chunks if chunk.path_in_schema == column]
    return not found or any(known is None or not known.has_null_count or known.null_count for known in found)


def schema_of(file: Path) -> pa.Schema:
    """Raises `InputError` for anything but a Parquet file."""
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"data '{file}': not a Parquet file ({in_one_line(error)})") from None
