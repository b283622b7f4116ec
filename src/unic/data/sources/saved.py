"""Folders that `save_to_disk` of the library `datasets` has written: one set, or a folder for each of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from unic._regular_files import read_bytes, read_json
from unic.data.sources import _image_paths, _splits
from unic.data.sources._columns import is_text
from unic.data.sources._path_options import UNNAMED, ColumnNames
from unic.data.sources.base import DamagedImageError
from unic.data.sources.huggingface import HuggingFace
from unic.digest import sha256_of_each
from unic.errors import InputError, in_one_line

_STATE, _INFO, _PARTS = "state.json", "dataset_info.json", "dataset_dict.json"


def parts_of(place: Path) -> list[str] | None:
    """Names of the parts of a saved set; empty: it has none; None: the folder is none of these."""
    if _is_saved(place):
        return []
    try:
        parts = read_json(place / _PARTS)["splits"]
        return [part for part in parts if isinstance(part, str) and part == Path(part).name and _is_saved(place / part)]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_saved(path: str, place: Path, split: str | None, named: ColumnNames = UNNAMED) -> Saved | None:
    """A part of a saved set; None: the folder is none.

    Args:
        path: as the user wrote it.
        place: the folder.
        split: a part; None: the training part, or all of a set without parts.
        named: columns that the user has named.

    Raises:
        InputError: no such part, or damaged files.
    """
    parts = parts_of(place)
    if parts is None:
        return None
    if not parts:
        if split is not None:
            raise _splits.missing(path, split, (), "the saved set has no parts")
        siblings = parts_of(place.parent) or []
        return Saved(path, place, named, [place.parent / part for part in siblings if part != place.name])
    name = _splits.spelt(path, split or _splits.TRAIN, parts)
    if name is None:
        raise _splits.missing(path, split or _splits.TRAIN, parts, "")
    return Saved(path, place / name, named, [place / part for part in parts if part != name])


class Saved(HuggingFace):
    """One part, on a memory map of its Arrow files.

    Args:
        path: as the user wrote it.
        place: the folder of the part.
        named: columns that the user has named.
        others: the folders of the other parts.

    Raises:
        InputError: files that are damaged, missing or not its own.
    """

    def __init__(self, path: str, place: Path, named: ColumnNames = UNNAMED, others: list[Path] | None = None) -> None:
        self._place, self._tables = place, _tables(path, place)

        def columns(name: str) -> Iterator[pa.ChunkedArray]:
            for other in others or []:
                found = _load(path, other)
                if name in found.column_names:
                    yield found.select_columns([name]).with_format("arrow")[:][name]

        super().__init__(path, _load(path, place), place, named, columns)

    def fingerprint(self) -> str:
        """Hash of what is written about the set, and of the names, sizes and times of its files."""
        return self._digest(with_times=True)

    def portable_fingerprint(self) -> str:
        return self._digest(with_times=False)

    def _digest(self, *, with_times: bool) -> str:
        return sha256_of_each(self._described(with_times=with_times))[:16]

    def _described(self, *, with_times: bool) -> Iterator[bytes]:
        yield from (read_bytes(self._place / _STATE), read_bytes(self._place / _INFO))
        for table in self._tables:
            yield table.name.encode() + b" " + _image_paths.state(table, with_times=with_times)
        for place in self._paths():
            try:
                file = self._encoded(place)
                assert isinstance(file, Path)
                yield _image_paths.state(file, with_times=with_times)
            except DamagedImageError:
                continue

    def _paths(self) -> list[Any]:
        """Those of images that stand in place of bytes, of a set without the type `Image`: others are stored whole."""
        whole = _load(self.path, self._place)
        if not is_text(whole.features.arrow_schema.field(self._column).type):
            return []
        return [{"bytes": None, "path": text} for text in whole.select_columns([self._column])[:][self._column]]


def _is_saved(place: Path) -> bool:
    return (place / _STATE).is_file() and (place / _INFO).is_file()


def _tables(path: str, place: Path) -> list[Path]:
    """The files of a part. A name that leads out of its folder is refused."""
    try:
        names = [entry["filename"] for entry in read_json(place / _STATE)["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"data '{path}': {place / _STATE} is damaged ({in_one_line(error)})") from None
    for name in names:
        if not isinstance(name, str) or name != Path(name).name or not (place / name).is_file():
            raise InputError(f"data '{path}': no file {name} in {place}, which its {_STATE} names")
    return [place / name for name in names]


def _load(path: str, place: Path) -> Any:
    from datasets import Dataset

    _tables(path, place)
    try:
        return Dataset.load_from_disk(str(place))
    except Exception as error:  # damaged files raise every kind
        raise InputError(f"data '{path}': {place.name} is damaged ({in_one_line(error)[:200]})") from None
