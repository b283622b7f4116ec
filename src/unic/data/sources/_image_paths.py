"""Paths of images in a table or a list: the file that each path means, and whether it may be read.

Tables come from strangers and can name any file of this machine. So a file is read only if it is a regular file with a
suffix of an image. The target of a link must have such a suffix, too (unless UNIC_FOLLOW_LINKS=1).
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
    """Whether a text ends in a suffix of an image, also of a format whose plugin is missing."""
    ending = os.path.splitext(text)[1].lower()
    return ending in suffixes() or ending in PACKAGES


def search_order(table: Path, working: str | None = None) -> tuple[str, ...]:
    """The folders in which relative paths of a table are searched: the table's own, then the working folder.

    Args:
        table: file of the table.
        working: the working folder; None: the current one.
    """
    working = working or os.getcwd()
    return tuple(dict.fromkeys((os.path.join(working, table.parent), working)))


def find(text: str, folders: Sequence[str], exists: Callable[[str], bool] = os.path.lexists) -> str:
    """The file that a path means.

    Args:
        text: an absolute path, or one relative to a folder.
        folders: the folders to search, in order.
        exists: tells whether a file exists.

    Raises:
        DamagedImageError: the file does not exist, or the path does not name an image that can be read.
    """
    ending = os.path.splitext(text)[1].lower()
    if "://" in text:
        raise DamagedImageError(f"{text} is a URL; expected the path of a file")
    if ending not in suffixes() or "\0" in text:
        hint = f"; pip install {PACKAGES[ending]} reads {ending} files" if ending in PACKAGES else ""
        raise DamagedImageError(f"'{text}' does not name an image that can be read{hint}")
    plain = text.replace("\\", "/")  # a path written on Windows
    forms = (unicodedata.normalize(form, name) for name in (text, plain) for form in ("NFC", "NFD"))
    for spelling in dict.fromkeys((text, plain, *forms)):
        for folder in folders:
            place = os.path.join(folder, spelling)  # an absolute path stays itself
            if exists(place):
                return place
    raise DamagedImageError(f"no such file: {text}")


def path_of(value: Any) -> str | None:
    """The path that a cell of a table holds instead of bytes; None if it holds no path."""
    place = value.get("path") if isinstance(value, dict) and value.get("bytes") is None else value
    return place if isinstance(place, str) and place else None


def check_some(path: str, column: str, values: Sequence[Any], folders: Sequence[str]) -> None:
    """Refuses a table if none of its first paths leads to an image, before they are all reported as damaged.

    Args:
        path: path of the set, as the user wrote it.
        column: name of the image column.
        values: its first cells.
        folders: in which relative paths are searched.

    Raises:
        InputError: all values are paths, and none leads to an image.
    """
    reasons = []
    for place in map(path_of, values):
        try:
            if place is None or find(place, folders):
                return
        except DamagedImageError as error:
            reasons.append(str(error))
    if reasons:
        searched = " and ".join(folders)
        raise InputError(f"data '{path}': column '{column}': {reasons[0]}; relative paths are searched in {searched}")


def checked(place: str) -> Path:
    """The file, if it may be read.

    Raises:
        DamagedImageError: a missing file, a folder, a pipe, a device, or a link to a file without a suffix of an image.
    """
    try:
        is_file = stat.S_ISREG(os.stat(place).st_mode)
    except OSError as error:
        raise DamagedImageError(error.strerror or "no such file") from None
    if not is_file:
        raise DamagedImageError("not a file")
    if not _links.are_followed() and os.path.splitext(os.path.realpath(place))[1].lower() not in suffixes():
        raise DamagedImageError("a link to a file without a suffix of an image; UNIC_FOLLOW_LINKS=1 follows it")
    return Path(place)


def state(place: Path, *, with_times: bool) -> bytes:
    """Size and, with `with_times`, modification time of a file, for a fingerprint."""
    status = os.stat(place)
    return b"%d %b\n" % (status.st_size, b"%d" % status.st_mtime_ns if with_times else b"")


class Listing:
    """Tells whether files exist. It lists each folder once; a million queries would take minutes on a network."""

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
