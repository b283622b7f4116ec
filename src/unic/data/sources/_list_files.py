"""Readers of lists of images and labels: CSV, TSV, JSON, JSON lines, and text with `path label` in each line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from unic._regular_files import read_bytes
from unic.data.sources._image_paths import is_image_name
from unic.errors import InputError, in_one_line

_MOST = 1 << 30  # bytes of a list, enough for ten million lines
_SEVERAL = re.compile(r"-?\d+(?:[\s,;]+-?\d+)+")  # more than one number

Cells = dict[str, list[str]]
"""The cells of each column, as text; all columns have the same length. A missing cell is empty."""


def read_list(path: str, file: Path) -> tuple[Cells, pa.Schema]:
    """The columns of a list, and their types: text, or a list for a column of JSON whose cells are not single values.

    Args:
        path: as the user wrote it.
        file: the list; its suffix tells the format.

    Raises:
        InputError: the file cannot be read, is empty, or is not a list of images.
    """
    try:
        data = read_bytes(file, _MOST)
        columns, nested = _READERS[file.suffix.lower()](data)
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        reason = str(error) if isinstance(error, _NoListError) else in_one_line(error)
        raise InputError(f"data '{path}': {file.name}: {reason}") from None
    if not columns or not next(iter(columns.values())):
        raise InputError(f"data '{path}': {file.name} has no rows")
    kinds = {name: pa.list_(pa.string()) if name in nested else pa.string() for name in columns}
    return columns, pa.schema(list(kinds.items()))


class _NoListError(ValueError):
    """The file is not a list of images; the text says why."""


Table = tuple[Cells, set[str]]
"""Cells, and the names of the columns with lists in their cells."""


def _csv(data: bytes, delimiters: str = ",;\t") -> Table:
    text = data.decode("utf-8-sig", "surrogateescape")  # file names may be any bytes, decoded as by `os.fsdecode`
    if "\0" in text[:1000]:
        raise _NoListError("expected text in UTF-8")
    head = text.partition("\n")[0]
    delimiter = max(delimiters, key=head.count)  # the first of those with the highest count
    rows = [(number, row) for number, row in _numbered_rows(text, delimiter) if any(row)]
    if not rows:
        return {}, set()
    names = [cell.strip() for cell in rows[0][1]]
    if any(map(is_image_name, names)):  # the list has no header
        names = _default_names(names)
    else:
        rows = rows[1:]
    if len(set(names)) < len(names):
        raise _NoListError(f"two of its columns have the same name: {', '.join(names)}")
    for number, row in rows:
        if len(row) != len(names):
            raise _NoListError(f"line {number} has {len(row)} cells, but the first line has {len(names)}")
    return {name: [row[place].strip() for _, row in rows] for place, name in enumerate(names)}, set()


def _numbered_rows(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows of a CSV, each with the number of its line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    return [(reader.line_num, row) for row in reader]


def _default_names(cells: list[str]) -> list[str]:
    """Names for the columns of a list without a header: `image` and `label` for two, numbers from 1 for more."""
    if len(cells) <= 2:
        return ["image" if is_image_name(cell) else "label" for cell in cells]
    return [str(number) for number in range(1, len(cells) + 1)]


def _lines(data: bytes) -> Table:
    columns: Cells = {"image": [], "label": []}
    text = data.decode("utf-8-sig", "surrogateescape")
    for number, line in enumerate(text.split("\n"), start=1):
        if not (line := line.strip()):
            continue
        image, label = _path_and_label(line)
        if not is_image_name(image) or _SEVERAL.fullmatch(label) or is_image_name(label):
            raise _NoListError(f"line {number}: expected the path of an image and its class, found {line[:80]!r}")
        columns["image"].append(image)
        columns["label"].append(label)
    return columns if any(columns["label"]) else {"image": columns["image"]}, set()


def _path_and_label(line: str) -> tuple[str, str]:
    """Splits a line after the first suffix of an image: a path may have spaces in it."""
    for suffix in re.finditer(r"\.\w{2,5}(?=[\s,;]|$)", line):
        path, label = line[: suffix.end()], line[suffix.end() :]
        if is_image_name(path):
            return path, label.strip(" \t,;")
    return "", ""


def _json_lines(data: bytes) -> Table:
    rows = []
    for number, line in enumerate(data.decode("utf-8-sig").split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError:
                raise _NoListError(f"line {number} is not JSON") from None
    return _rows(rows)


def _json(data: bytes) -> Table:
    content = json.loads(data.decode("utf-8-sig"))
    if isinstance(content, dict):
        if "images" in content and "annotations" in content:
            raise _NoListError("COCO annotations of objects are not supported; expected a class for each image")
        content = content["labels"] if isinstance(content.get("labels"), list) else list(map(list, content.items()))
    return _rows(content)


def _rows(rows: Any) -> Table:
    """The table of a JSON list of objects, such as {"file_name": "a.png", "label": 3}, or of pairs, ["a.png", 3]."""
    if not isinstance(rows, list):
        raise _NoListError("expected a list of images with their labels")
    if all(isinstance(row, list) and len(row) == 2 for row in rows):
        rows = [dict(zip(("image", "label"), row, strict=True)) for row in rows]
    if not all(isinstance(row, dict) for row in rows):
        raise _NoListError(
            'expected objects, such as {"file_name": "a.png", "label": "cat"}, or pairs ["a.png", "cat"]'
        )
    names = dict.fromkeys(name for row in rows for name in row)
    nested = {name for name in names if any(isinstance(row.get(name), list | dict) for row in rows)}
    return {name: [_cell(row.get(name)) for row in rows] for name in names}, nested


def _cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None or isinstance(value, list | dict) else str(value)


_READERS: dict[str, Callable[[bytes], Table]] = {
    ".csv": _csv,
    ".tsv": lambda data: _csv(data, "\t"),
    ".json": _json,
    ".jsonl": _json_lines,
    ".txt": _lines,
}
SUFFIXES = tuple(_READERS)
