"""A folder of images, in any format and at any depth; labelled if every image lies in a class subfolder."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from unic.data._plugins import PACKAGES
from unic.data.decode import suffixes
from unic.data.sources import _links
from unic.data.sources._image_files import ImageFiles
from unic.data.sources._names import Names, composed
from unic.digest import sha256_of_each
from unic.errors import InputError

log = logging.getLogger("unic")

_LISTS = (".csv", ".tsv", ".json", ".jsonl")


class Folder(ImageFiles):
    """The images below a folder, in the order of their names.

    The subfolders of the first level are the classes, if no image lies outside of them. Hidden files are left out. So
    are links that lead out of the folder (see `_links`), with a warning.

    Args:
        path: as the user wrote it.
        root: the folder.

    Raises:
        InputError: the folder holds no image.
    """

    def __init__(self, path: str, root: Path) -> None:
        self.path = path
        self._root = root
        names, outside, unread = _image_names(root)
        names.sort()
        hints = []
        for package, files in sorted(unread.items()):
            hints.append(f"{len(files)} images, the first is {min(files)}, can be read after pip install {package}")
            log.warning("data '%s': left out: %s", path, hints[-1])
        if not names:
            kinds = " ".join(sorted(suffixes()))
            hint = "; ".join([*hints, _links.HINT])
            raise InputError(f"data '{path}': no images in this folder (searched for {kinds}; {hint}){_lists(root)}")
        if outside:
            log.warning(
                "data '%s': %d links left out, the first is %s; %s", path, len(outside), min(outside), _links.HINT
            )
        self._names = Names(names)
        self._labels: np.ndarray | None = None
        if all("/" in name for name in names):
            first = [composed(name.partition("/")[0]) for name in names]
            classes, self._labels = np.unique(first, return_inverse=True)
            self.classes = classes.tolist()
        elif beside := _strays(names):
            self.why_unlabelled = f"{beside} outside the class folders"
            log.warning("data '%s': no labels, because %s; move or remove these images", path, self.why_unlabelled)
        else:
            self.why_unlabelled = f"its images do not lie in class folders{_lists(root)}"

    def encoded(self, index: int) -> Path:
        return self._root / self.name(index)

    def label(self, index: int) -> int | None:
        return None if self._labels is None else int(self._labels[index])

    def _digest(self, *, with_times: bool) -> str:
        return sha256_of_each(self._state(index, with_times=with_times) for index in range(len(self)))[:16]

    def _state(self, index: int, *, with_times: bool) -> bytes:
        name = self.name(index)
        try:
            status = (self._root / name).stat()
        except OSError:  # a broken link, which counts as a damaged image
            status = (self._root / name).lstat()
        time = f"{status.st_mtime_ns} " if with_times else ""
        return f"{status.st_size} {time}".encode() + os.fsencode(name) + b"\n"


def _strays(names: list[str]) -> str:
    """Subject and verb of a sentence about images beside the class folders, if so few that they must be a mistake."""
    strays = [name for name in names if "/" not in name]
    if len(strays) == len(names) or len(strays) > max(1, len(names) // 10):
        return ""
    return f"{strays[0]} lies" if len(strays) == 1 else f"{len(strays)} images, the first is {strays[0]}, lie"


def _lists(root: Path) -> str:
    """Ending of a message: a list in the folder, which the user may have wanted to open."""
    names = sorted(name for name in os.listdir(root) if name.lower().endswith(_LISTS) and name[0] != ".")
    return f"; to read the list in this folder, name it: {root / names[0]}" if names else ""


def _image_names(root: Path) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """Paths relative to `root`, with `/` between parts.

    Returns:
        The images; links that are left out; and, by package, images that need a package that is not installed.
    """
    inside = root.resolve()
    readable = suffixes()
    unread: dict[str, list[str]] = {}
    images: list[str] = []
    outside: list[str] = []
    follow = _links.are_followed()
    for at, subfolders, files in os.walk(root, followlinks=follow):
        folder = Path(at)
        for name in [name for name in subfolders if (folder / name).is_symlink()]:
            if not _links.stays(folder / name, inside):
                outside.append((folder / name).relative_to(root).as_posix())
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        if follow:
            subfolders[:] = [name for name in subfolders if not _links.is_cycle(folder / name, root)]
        for name in files:
            file = folder / name
            suffix = file.suffix.lower()
            if name.startswith(".") or suffix not in readable | PACKAGES.keys():
                continue
            if suffix not in readable:
                unread.setdefault(PACKAGES[suffix], []).append(file.relative_to(root).as_posix())
                continue
            kept = images if not file.is_symlink() or _links.stays(file, inside) else outside
            kept.append(file.relative_to(root).as_posix())
    return images, outside, unread
