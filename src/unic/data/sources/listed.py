"""Labelled image files by their names, for evaluation sets that publish a list of each split."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from unic.data.sources import _links
from unic.data.sources._image_files import ImageFiles
from unic.data.sources._names import Names
from unic.digest import sha256_of_each
from unic.errors import InputError


class Listed(ImageFiles):
    """The images of a list, in its order, each with a label.

    The files are checked at once, folder by folder, which takes seconds for a million. Links that lead out of `root`
    count as missing files, as in `Folder`.

    Args:
        path: as the user wrote it.
        root: the folder of the files.
        names: names of the files, relative to `root`, with `/` between parts.
        labels: `(n,)` class indices.
        classes: names of the classes.

    Raises:
        InputError: the list is empty, names a missing file or one outside of `root`, or has a label without a class.
    """

    classes: list[str]

    def __init__(
        self, path: str, root: Path, names: Sequence[str], labels: Sequence[int] | np.ndarray, classes: Sequence[str]
    ) -> None:
        self.path, self.classes = path, list(classes)
        self._root = root
        self._labels = np.asarray(labels, dtype=np.int32)
        assert self._labels.shape == (len(names),), (self._labels.shape, len(names))
        if not names:
            raise InputError(f"data '{path}': no images in its list")
        low, high = int(self._labels.min()), int(self._labels.max())
        if low < 0 or high >= len(self.classes):
            raise InputError(f"data '{path}': labels from {low} to {high}, but {len(self.classes)} classes")
        _check_files(path, root, names)
        self._names = Names(names)
        self._digests: dict[bool, str] = {}  # by `with_times`

    def encoded(self, index: int) -> Path:
        return self._root / self.name(index)

    def label(self, index: int) -> int:
        return int(self._labels[index])

    def _digest(self, *, with_times: bool) -> str:
        if with_times not in self._digests:
            self._digests[with_times] = sha256_of_each(self._states(with_times=with_times))[:16]
        return self._digests[with_times]

    def _states(self, *, with_times: bool) -> Iterator[bytes]:
        root = os.path.join(os.fsencode(self._root), b"")
        for name in self._names.encoded():
            status = os.stat(root + name)
            time = b"%d " % status.st_mtime_ns if with_times else b""
            yield b"%d %b%b\n" % (status.st_size, time, name)


def _check_files(path: str, root: Path, names: Sequence[str]) -> None:
    inside = root.resolve()
    present: dict[str, set[str]] = {}
    missing = []
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in present:
            if name.startswith("/") or ".." in folder.split("/"):
                raise InputError(f"data '{path}': its list names a file outside of the folder: {name}")
            present[folder] = _files_in(inside, root / folder)
        if file not in present[folder]:
            missing.append(name)
    if missing:
        raise InputError(
            f"data '{path}': {len(missing)} of {len(names)} images are missing, the first is {missing[0]} "
            f"(links that lead out of the folder count as missing; {_links.HINT})"
        )


def _files_in(inside: Path, folder: Path) -> set[str]:
    """Names of the entries of a folder, without links that lead out of `inside`; empty if the folder is such a link."""
    try:
        if not _links.stays(folder, inside):
            return set()
        with os.scandir(folder) as entries:  # tells links without a query for every file
            return {entry.name for entry in entries if not entry.is_symlink() or _links.stays(Path(entry.path), inside)}
    except (OSError, ValueError):  # a missing folder, or a name with a null byte
        return set()
