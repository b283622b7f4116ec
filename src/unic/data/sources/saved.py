"""Folders that `save_to_disk` of the library `datasets` has written: one set, or a folder for each split."""

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

_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"


def saved_splits(place: Path) -> list[str] | None:
    """Names of the splits of a saved set; empty: the set has no splits; None: the folder is not a saved set."""
    if _is_saved(place):
        return []
    try:
        names = read_json(place / _SPLITS)["splits"]
        return [name for name in names if isinstance(name, str) and name == Path(name).name and _is_saved(place / name)]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_saved(path: str, place: Path, split: str | None, named: ColumnNames = UNNAMED) -> Saved | None:
    """Opens a split of a saved set; None if the folder is not a saved set.

    Args:
        path: as the user wrote it.
        place: the folder.
        split: name of a split; None: the training split, or the whole set if it has no splits.
        named: columns that the user has named.

    Raises:
        InputError: the set has no such split, or its files are damaged.
    """
    splits = saved_splits(place)
    if splits is None:
        return None
    if not splits:
        if split is not None:
            raise _splits.missing(path, split, (), "the saved set has no splits")
        siblings = saved_splits(place.parent) or []
        return Saved(path, place, named, [place.parent / sibling for sibling in siblings if sibling != place.name])
    name = _splits.spelt(path, split or _splits.TRAIN, splits)
    if name is None:
        raise _splits.missing(path, split or _splits.TRAIN, splits, "")
    return Saved(path, place / name, named, [place / other for other in splits if other != name])


class Saved(HuggingFace):
    """A split of a saved set, on a memory map of its Arrow files.

    Args:
        path: as the user wrote it.
        place: the folder of the split.
        named: columns that the user has named.
        others: the folders of the other splits.

    Raises:
        InputError: a file is damaged or missing, or lies outside of the folder.
    """

    def __init__(self, path: str, place: Path, named: ColumnNames = UNNAMED, others: list[Path] | None = None) -> None:
        self._place, self._tables = place, _tables(path, place)

        def columns(name: str) -> Iterator[pa.ChunkedArray]:
            for other in others or []:
                loaded = _load(path, other)
                if name in loaded.column_names:
                    yield loaded.select_columns([name]).with_format("arrow")[:][name]

        super().__init__(path, _load(path, place), place, named, columns)

    def fingerprint(self) -> str:
        """Hash of the set's JSON files, of the names, sizes and times of its Arrow files, and of the sizes and times of
        image files that rows name."""
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
        """The cells of an image column that holds paths; empty for a column of the type `Image`, which holds bytes."""
        whole = _load(self.path, self._place)
        if not is_text(whole.features.arrow_schema.field(self._column).type):
            return []
        return [{"bytes": None, "path": text} for text in whole.select_columns([self._column])[:][self._column]]


def _is_saved(place: Path) -> bool:
    return (place / _STATE).is_file() and (place / _INFO).is_file()


def _tables(path: str, place: Path) -> list[Path]:
    """The Arrow files of a split. Raises `InputError` for a missing file, or one outside of the folder."""
    try:
        names = [entry["filename"] for entry in read_json(place / _STATE)["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"data '{path}': {place / _STATE} is damaged ({in_one_line(error)})") from None
    for name in names:
        if not isinstance(name, str) or name != Path(name).name or not (place / name).is_file():
            raise InputError(f"data '{path}': its {_STATE} names {name}, which is not a file in {place}")
    return [place / name for name in names]


def _load(path: str, place: Path) -> Any:
    from datasets import Dataset

    _tables(path, place)
    try:
        return Dataset.load_from_disk(str(place))
    except Exception as error:  # damaged files raise every kind
        raise InputError(f"data '{path}': {place.name} is damaged ({in_one_line(error)[:200]})") from None
