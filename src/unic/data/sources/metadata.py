"""Folders of images with labels in `metadata.csv` or `metadata.jsonl`, a layout of the library `datasets`.

The list only adds labels: the images are those of the folder, in its order. So the folder is the same training set with
and without the list.
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


def open_folder(
    path: str, place: Path, root: Path, named: ColumnNames = UNNAMED, siblings: Sequence[Path] = ()
) -> Folder:
    """Opens a folder of images. A list in `root`, else in `place`, gives the labels, if there is one.

    Args:
        path: as the user wrote it.
        place: the folder that the user has named.
        root: the folder of the images: that of a split, or `place`.
        named: columns of the list that the user has named.
        siblings: folders of all splits, if the user has named each by its own path.

    Raises:
        InputError: the folder has no images, or a named column does not exist.
    """
    file = _list_in(root) or _list_in(place)
    if file is None:
        named.refuse(path)
        return Folder(path, root)
    folders = [*siblings, *(place / name for name in _splits.splits_in(place))]
    lists = [other for folder in folders if (other := _list_in(folder))]
    return LabelledFolder(path, root, file, named, lists)


class LabelledFolder(Folder):
    """The images of a folder with the labels of a list.

    If the list has no label column, class folders give the labels. If there are both, the user must name the column.

    Args:
        path: as the user wrote it.
        root: the folder of the images.
        file: the list; its paths are relative to its own folder.
        named: columns that the user has named.
        every: the lists of all splits, whose labels together are the classes.

    Raises:
        InputError: the folder has no images, or a named column does not exist.
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
            if self.classes is None:  # no error, because training needs no labels
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
            self._take_labels(own, lists, root.relative_to(file.parent).as_posix(), file)

    def _take_labels(self, own: ListContent, lists: list[ListContent], prefix: str, file: Path) -> None:
        """Takes the labels of the list. `prefix`: path of the images' folder from that of the list."""
        label_of = dict(zip(map(_key, own.images), own.labels, strict=True))
        keys = [_key(f"{prefix}/{self.name(index)}") for index in range(len(self))]
        missing = [index for index, key in enumerate(keys) if key not in label_of]
        if missing:
            self.classes = self._labels = None
            self.why_unlabelled = (
                f"{len(missing)} of its {len(self)} images are not in {file.name}, the first is {self.name(missing[0])}"
            )
            return
        self.classes = _label_values.class_list(_label_values.of_texts(one.labels) for one in lists)
        labels = _label_values.of_texts([label_of[key] for key in keys])
        self._labels = _label_values.class_indices(labels, self.classes)


def _key(place: str) -> str:
    return composed(os.path.normpath(place))


def _list_in(folder: Path) -> Path | None:
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)
