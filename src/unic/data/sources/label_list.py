"""Lists of images and their labels: CSV, TSV, JSON, JSON lines, and text with a path and a class in each line.

Paths are absolute, or relative to the folder of the list or to the working folder (`_image_paths`). If a column `split`
has `train`, `val` or `test` in every row, its values are the splits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unic.data.sources import _image_paths, _label_values, _splits
from unic.data.sources._columns import SAMPLE, choose
from unic.data.sources._image_files import ImageFiles
from unic.data.sources._list_files import SUFFIXES, Cells, read_list
from unic.data.sources._names import Names
from unic.data.sources._path_options import UNNAMED, ColumnNames
from unic.data.sources.base import DamagedImageError
from unic.digest import sha256_of_each
from unic.errors import InputError

__all__ = ["SUFFIXES", "LabelList", "ListContent"]

_SPLIT = "split"  # name of the column


class LabelList(ImageFiles):
    """The images of some lists with the same columns, in their order.

    Args:
        path: as the user wrote it.
        files: at least one list.
        split: name of a split; None: the training split, or all images if the lists have no splits.
        named: columns that the user has named.
        every: the lists of all splits, whose labels together are the classes; empty: `files`.

    Raises:
        InputError: a list is damaged or empty, has no such split or column, or names an image that cannot be read.
    """

    def __init__(
        self,
        path: str,
        files: Sequence[Path],
        split: str | None = None,
        named: ColumnNames = UNNAMED,
        every: Sequence[Path] = (),
    ) -> None:
        self.path = path
        lists = {file: ListContent.read(path, file, named) for file in dict.fromkeys([*files, *every])}
        if not any(lists[file].splits for file in files) and split is not None:
            files, split = _splits.files_of(path, files, split), None
        first = lists[files[0]]
        for file in files[1:]:
            if lists[file].columns != first.columns:
                raise InputError(f"data '{path}': {file.name} has other columns than {files[0].name}")
        places, names, labels = [], [], []
        for file in files:
            rows = lists[file].rows_of(path, split)
            texts = [lists[file].images[row] for row in rows]
            names += texts
            labels += [lists[file].labels[row] for row in rows] if first.is_labelled else []
            places += _places(path, file, texts)
        self._places, self._names = Names(places), Names(names)
        self._labels: np.ndarray | None = None
        self.why_unlabelled = first.why_unlabelled
        if first.is_labelled:
            self.classes = _label_values.class_list(_label_values.of_texts(one.labels) for one in lists.values())
            self._labels = _label_values.class_indices(_label_values.of_texts(labels), self.classes)

    def encoded(self, index: int) -> Path:
        return _image_paths.checked(self._places[index])

    def label(self, index: int) -> int | None:
        return None if self._labels is None or self._labels[index] < 0 else int(self._labels[index])

    def _digest(self, *, with_times: bool) -> str:
        return sha256_of_each(self._state(index, with_times=with_times) for index in range(len(self)))[:16]

    def _state(self, index: int, *, with_times: bool) -> bytes:
        try:
            state = _image_paths.state(Path(self._places[index]), with_times=with_times)
        except OSError:  # a broken link, which counts as a damaged image
            state = b"-\n"
        return os.fsencode(self._names[index]) + b" " + state


class ListContent:
    """The images, labels and splits of a list.

    Args:
        cells: the cells of the list.
        columns: names of the image column and of the label column, if there is one.
        why_unlabelled: the reason why there is no label column, see `Source`.

    Attributes:
        images: path of each row.
        labels: class of each row, or an empty text; an empty list without a label column.
        splits: split of each row; an empty list if the list has no splits.
        columns: as given.
        why_unlabelled: as given.
    """

    def __init__(self, cells: Cells, columns: tuple[str, str | None], why_unlabelled: str) -> None:
        image, label = self.columns = columns
        self.images, self.why_unlabelled = cells[image], why_unlabelled
        self.labels = [] if label is None else cells[label]
        splits = [
            values for name, values in cells.items() if name.lower() == _SPLIT and all(map(_splits.kind_of, values))
        ]
        self.splits = splits[0] if splits else []

    @classmethod
    def read(cls, path: str, file: Path, named: ColumnNames = UNNAMED) -> ListContent:
        """Reads a file. Raises `InputError` as `read_list` and `choose` do."""
        cells, schema = read_list(path, file)

        def peek(names: list[str]) -> dict[str, list[str]]:
            return {name: [cell for cell in cells[name][: 4 * SAMPLE] if cell][:SAMPLE] for name in names}

        columns = choose(path, schema, {}, named, peek)
        return cls(cells, (columns.image, columns.label), columns.why_unlabelled)

    @property
    def is_labelled(self) -> bool:
        return self.columns[1] is not None

    def rows_of(self, path: str, split: str | None) -> Sequence[int]:
        """Indices of the rows of a split; None: the training split, or all rows if the list has no splits."""
        if not self.splits:
            return range(len(self.images))
        name = _splits.spelt(path, split or _splits.TRAIN, self.splits)
        if name is None:
            raise _splits.missing(path, split or _splits.TRAIN, sorted(set(self.splits)), "")
        return [row for row, value in enumerate(self.splits) if value == name]


def _places(path: str, file: Path, texts: Sequence[str]) -> list[str]:
    """The file of each image. Raises `InputError` if any of them cannot be read."""
    folders, listing = _image_paths.search_order(file), _image_paths.Listing()
    places, reasons = [], []
    for text in texts:
        try:
            places.append(_image_paths.find(text, folders, listing))
        except DamagedImageError as error:
            reasons.append(str(error))
    if reasons:
        raise InputError(
            f"data '{path}': {len(reasons)} of {len(texts)} images of {file.name} cannot be read, the first: "
            f"{reasons[0]}; relative paths are searched in {' and '.join(folders)}"
        )
    return places
