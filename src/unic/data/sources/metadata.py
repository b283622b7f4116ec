"""Folders of images whose labels stand in `metadata.csv` or `metadata.jsonl`, as the library `datasets` lays them out.

The images are those of the folder, in its order: the list only adds labels. So a folder is the same training set with
and without it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from unic.data.sources import _label_values, _splits
from unic.data.sources._names import composed
from unic.data.sources._path_options import UNNAMED, ColumnNames
from unic.data.sources.folder import Folder
from unic.data.sources.label_list import ListContent
from unic.errors import InputError

_NAMES = ("metadata.csv", "metadata.jsonl")


def open_folder(path: str, place: Path, root: Path, named: ColumnNames = UNNAMED, parts: Sequence[Path] = ()) -> Folder:
    """A folder of images, with the labels of the list in it or in the folder that the user has named, if there is one.

    Args:
        path: as the user wrote it.
        place: the folder that the user has named.
        root: that of a part, or the same.
        named: columns of the list that the user has named.
        parts: folders of the other parts, where the user has named one by one.

    Raises:
        InputError: no images, or a column is named that is not there.
    """
    file = _list_in(root) or _list_in(place)
    if file is None:
        named.refuse(path)
        return Folder(path, root)
    folders = [*parts, *(place / name for name in _splits.splits_in(place))]
    return LabelledFolder(path, root, file, named, [found for folder in folders if (found := _list_in(folder))])


class LabelledFolder(Folder):
    """The images of a folder with the labels of a list.

    Classes of folders count where the list has no column of classes. Where both are there, the column has to be named.

    Args:
        path: as the user wrote it.
        root: the folder of images.
        file: the list; its paths start at its own folder.
        named: columns that the user has named.
        every: lists of all parts, whose labels together are the classes.

    Raises:
        InputError: no images, or a column is named that is not there.
    """

    def __init__(
        self, path: str, root: Path, file: Path, named: ColumnNames = UNNAMED, every: list[Path] | None = None
    ) -> None:
        super().__init__(path, root)
        try:
            own = ListContent.read(path, file, named)
            lists = [own, *(ListContent.read(path, other, named) for other in every or [] if other != file)]
        except InputError as error:
            if any(named):
                raise
            if self.classes is None:  # training needs no labels: it is told where they are needed
                self.why_unlabelled = str(error).removeprefix(f"data '{path}': ")
            return
        if not own.is_labelled:
            if self.classes is None:
                self.why_unlabelled = f"{file.name}: {own.why_unlabelled}"
        elif self.classes is not None and named.label is None:
            self.classes = self._labels = None
            self.why_unlabelled = (
                f"both its folders and the column '{own.columns[1]}' of {file.name} may be the classes; write "
                f"?label={own.columns[1]} at the end of the path for the column, or remove {file.name}"
            )
        else:
            self._take(own, lists, root.relative_to(file.parent).as_posix(), file)

    def _take(self, own: ListContent, lists: list[ListContent], prefix: str, file: Path) -> None:
        known = dict(zip(map(_key, own.images), own.labels, strict=True))
        keys = [_key(f"{prefix}/{self.name(index)}") for index in range(len(self))]
        missing = [index for index, key in enumerate(keys) if key not in known]
        if missing:
            self.classes = self._labels = None
            self.why_unlabelled = (
                f"{len(missing)} of its {len(self)} images are not in {file.name}, the first is {self.name(missing[0])}"
            )
            return
        self.classes = _label_values.class_list(_label_values.of_texts(one.labels) for one in lists)
        self._labels = _label_values.class_indices(_label_values.of_texts([known[key] for key in keys]), self.classes)


def _key(place: str) -> str:
    return composed(os.path.normpath(place))


def _list_in(folder: Path) -> Path | None:
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)
