"""A temporary folder, removed when the process ends, for results that the user's cache cannot take."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Error numbers of a place where this user cannot write. A full disk is not among them."""

log = logging.getLogger("unic")


@cache
def scratch() -> Path:
    """The folder, created at the first call."""
    folder = Path(tempfile.mkdtemp(prefix="unic-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves it to its parent
        shutil.rmtree(folder, ignore_errors=True)


def is_in_use() -> bool:
    return scratch.cache_info().currsize > 0


def can_write(folder: Path) -> bool:
    """Whether this user can write in a folder, or create it."""
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return os.access(place, os.W_OK)


@cache
def say_read_only(folder: Path) -> None:
    """Warns, once in a process, that a cache cannot be written."""
    log.warning("cache %s cannot be written: its entries are used, new results are not kept", folder)


@cache
def say_not_kept(what: str, unknown: str) -> None:
    """Warns, once in a process, that the results of a model or a task are not cached.

    Args:
        what: names the model or the task.
        unknown: the cause that no cache key covers.
    """
    log.warning("%s: its results are not cached, because they depend on %s", what, unknown)
