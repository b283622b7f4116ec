"""Files that list images and their labels, as text → columns of text: CSV, TSV, JSON, JSON lines, and `path label`."""

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

_MOST = 1 << 30  # bytes of a list: ten million lines
_SEVERAL = re.compile(r"-?\d+(?:[\s,;]+-?\d+)+")

Cells = dict[str, list[str]]
"""The cells of a list by column, all of one length; empty where a row has none."""


def read_list(path: str, file: Path) -> tuple[Cells, pa.Schema]:
    """The columns of a list, and their types: text, or lists where a cell of JSON holds more than one value.

    Args:
        path: as the user wrote it.
        file: whose suffix says the format.

    Raises:
        InputError: it cannot be read, is empty, or is something else.
    """
    try:
        data = read_bytes(file, _MOST)
        columns, nested = _READERS[file.suffix.lower()](data)
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        reason = str(error) if isinstance(error, _NoListError) else in_one_line(error)
        raise InputError(f"data '{path}': {file.name}: {reason}") from None
    if not columns or not next(iter(columns.values())):
        raise InputError(f"data '{path}': {file.name} lists nothing")
    kinds = {name: pa.list_(pa.string()) if name in nested else pa.string() for name in columns}
    return columns, pa.schema(list(kinds.items()))


class _NoListError(ValueError):
    """What stands in the file is no list of images; the text says why."""


Table = tuple[Cells, set[str]]
"""Cells, and the names of those with lists in their cells."""


def _csv(data: bytes, delimiters: str = ",;\t") -> Table:
    text = data.decode("utf-8-sig", "surrogateescape")  # names of files are bytes, as `os.fsdecode` reads them
    if "\0" in text[:1000]:
        raise _NoListError("expected text in UTF-8")
    head = text.partition("\n")[0]
    delimiter = max(delimiters, key=head.count)  # of several the first, where none is there too
    rows = [(number, row) for number, row in _numbered(text, delimiter) if any(row)]
    if not rows:
        return {}, set()
    names = [cell.strip() for cell in rows[0][1]]
    if any(map(is_image_name, names)):  # no header
        names = _unnamed(names)
    else:
        rows = rows[1:]
    if len(set(names)) < len(names):
        raise _NoListError(f"two of its columns have one name: {', '.join(names)}")
    for number, row in rows:
        if len(row) != len(names):
            raise _NoListError(f"line {number} has {len(row)} cells, the first line {len(names)}")
    return {name: [row[place].strip() for _, row in rows] for place, name in enumerate(names)}, set()


def _numbered(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    return [(reader.line_num, row) for row in reader]


def _unnamed(cells: list[str]) -> list[str]:
    """Names for the columns of a list without a header: of two, image and label; of more, their numbers."""
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
    """A path may have spaces in it; it ends where first something ends that is called like an image."""
    for found in re.finditer(r"\.\w{2,5}(?=[\s,;]|$)", line):
        path, label = line[: found.end()], line[found.end() :]
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
    found = json.loads(data.decode("utf-8-sig"))
    if isinstance(found, dict):
        if "images" in found and "annotations" in found:
            raise _NoListError("annotations of objects (COCO), not a class for each image")
        found = found["labels"] if isinstance(found.get("labels"), list) else list(map(list, found.items()))
    return _rows(found)


def _rows(found: Any) -> Table:
    """Of objects, such as {"file_name": "a.png", "label": 3}, or of pairs, ["a.png", 3]."""
    if not isinstance(found, list):
        raise _NoListError("expected a list of images with their labels")
    if all(isinstance(row, list) and len(row) == 2 for row in found):
        found = [dict(zip(("image", "label"), row, strict=True)) for row in found]
    if not all(isinstance(row, dict) for row in found):
        raise _NoListError('expected objects, such as {"file_name": "a.png", "label": "cat"}, or pairs of these two')
    names = dict.fromkeys(name for row in found for name in row)
    nested = {name for name in names if any(isinstance(row.get(name), list | dict) for row in found)}
    return {name: [_cell(row.get(name)) for row in found] for name in names}, nested


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
