"""A folder of this process for what may not be kept: it goes when the process ends."""

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
"""Numbers of the errors that say: not here, not by you. A full disk is another matter."""

log = logging.getLogger("unic")


@cache
def scratch() -> Path:
    """The folder, made when it is first asked for."""
    folder = Path(tempfile.mkdtemp(prefix="unic-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not one that was forked from it
        shutil.rmtree(folder, ignore_errors=True)


def is_in_use() -> bool:
    return scratch.cache_info().currsize > 0


def can_write(folder: Path) -> bool:
    """Whether this user may add to a folder, which may not be there yet."""
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return os.access(place, os.W_OK)


@cache
def say_read_only(folder: Path) -> None:
    """Once in a process."""
    log.warning("cache %s cannot be written: what is in it is used, what is new is not kept", folder)


@cache
def say_not_kept(what: str, unknown: str) -> None:
    """Once in a process."""
    log.warning("%s: nothing of it is kept, for it depends on %s", what, unknown)
