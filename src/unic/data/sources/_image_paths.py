"""Paths of images that stand in a table or a list: which file each of them means, and whether it may be read.

Tables come from strangers and can name any file of this machine. So only regular files are read that are called like
images, and of a link what it leads to has to be called so too (UNIC_FOLLOW_LINKS=1 takes any).
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unic.data._plugins import PACKAGES
from unic.data.decode import suffixes
from unic.data.sources import _links
from unic.data.sources.base import DamagedImageError
from unic.errors import InputError


def is_image_name(text: str) -> bool:
    """Whether a text ends like the name of an image, one that needs a plugin included."""
    ending = os.path.splitext(text)[1].lower()
    return ending in suffixes() or ending in PACKAGES


def search_order(table: Path, working: str | None = None) -> tuple[str, ...]:
    """Where relative paths in a table are looked for: beside it, then in the working folder (default: the current)."""
    working = working or os.getcwd()
    return tuple(dict.fromkeys((os.path.join(working, table.parent), working)))


def find(text: str, folders: Sequence[str], exists: Callable[[str], bool] = os.path.lexists) -> str:
    """The file that a path means.

    Args:
        text: an absolute path, or one below one of the folders.
        folders: in the order in which they are looked at.
        exists: whether a file is there.

    Raises:
        DamagedImageError: there is none, or it is no name of an image that can be read.
    """
    ending = os.path.splitext(text)[1].lower()
    if "://" in text:
        raise DamagedImageError(f"{text} is a URL, and paths of files are read only")
    if ending not in suffixes() or "\0" in text:
        need = f", which needs the package {PACKAGES[ending]}" if ending in PACKAGES else " that can be read"
        raise DamagedImageError(f"'{text}' does not name an image{need}")
    plain = text.replace("\\", "/")  # as Windows writes it
    forms = (unicodedata.normalize(form, name) for name in (text, plain) for form in ("NFC", "NFD"))
    for spelling in dict.fromkeys((text, plain, *forms)):
        for folder in folders:
            place = os.path.join(folder, spelling)  # of an absolute one: itself
            if exists(place):
                return place
    raise DamagedImageError(f"no such file: {text}")


def path_of(value: Any) -> str | None:
    """The path that a cell of a table holds in place of bytes."""
    place = value.get("path") if isinstance(value, dict) and value.get("bytes") is None else value
    return place if isinstance(place, str) and place else None


def check_some(path: str, column: str, values: Sequence[Any], folders: Sequence[str]) -> None:
    """A table whose paths all lead nowhere is told so at once, not image by image.

    Args:
        path: of the set, as the user wrote it.
        column: the one with the images.
        values: its first cells.
        folders: where relative paths are looked for.

    Raises:
        InputError: all of them are paths, and none leads to an image.
    """
    reasons = []
    for place in map(path_of, values):
        try:
            if place is None or find(place, folders):
                return
        except DamagedImageError as error:
            reasons.append(str(error))
    if reasons:
        looked = " and ".join(folders)
        text = f"column '{column}': {reasons[0]}; relative paths are looked for in {looked}"
        raise InputError(f"data '{path}': {text}")


def checked(place: str) -> Path:
    """The file, if it may be read.

    Raises:
        DamagedImageError: it is a folder, a pipe, a device or a link to something that is not called like an image.
    """
    try:
        is_file = stat.S_ISREG(os.stat(place).st_mode)
    except OSError as error:
        raise DamagedImageError(error.strerror or "no such file") from None
    if not is_file:
        raise DamagedImageError("not a file")
    if not _links.are_followed() and os.path.splitext(os.path.realpath(place))[1].lower() not in suffixes():
        raise DamagedImageError("a link to a file that is not called like an image; UNIC_FOLLOW_LINKS=1 follows it")
    return Path(place)


def state(place: Path, *, with_times: bool) -> bytes:
    """Size and, if asked, time of a file, for a fingerprint."""
    status = os.stat(place)
    return b"%d %b\n" % (status.st_size, b"%d" % status.st_mtime_ns if with_times else b"")


class Listing:
    """Whether files are there, asked folder by folder: of a million, each for itself, a network takes minutes."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[str]] = {}

    def __call__(self, place: str) -> bool:
        folder, name = os.path.split(place)
        if folder not in self._known:
            try:
                self._known[folder] = frozenset(os.listdir(folder or "."))
            except (OSError, ValueError):  # a name that no file can have
                self._known[folder] = frozenset()
        return name in self._known[folder]
