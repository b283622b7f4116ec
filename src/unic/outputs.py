"""Checks of output paths, made before the work, which may take hours."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Literal

from unic.errors import FullDiskError, InputError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a full disk and of an exhausted quota."""
_BLOCK = 1 << 16  # bytes; the first write of a command is hardly ever smaller


def check_writable(
    target: Path, *, named: str, kind: Literal["file", "folder"] = "file", remedy: str = "name another place"
) -> None:
    """Refuses a file or folder that cannot be written. It need not exist, and is not created.

    Args:
        target: the path.
        named: the user's name of it, for example `--out`; it begins the error line.
        kind: kind of file that the command will write there.
        remedy: what the user can do where nothing can be written.

    Raises:
        InputError: the path leads through a file, is of the other kind, or this user cannot write there.
        FullDiskError: the disk is full.
    """
    if target.is_dir() and kind == "file":
        raise InputError(f"{named} {target}: is a folder; name a file in it")
    if os.path.lexists(target) and not target.is_dir() and kind == "folder":
        raise InputError(f"{named} {target}: it is a file; expected a folder")
    place = target.absolute() if kind == "folder" else target.absolute().parent
    folder = next(folder for folder in (place, *place.parents) if os.path.lexists(folder))
    if not folder.is_dir():
        raise InputError(f"{named} {target}: {folder} is a file; expected a folder")
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * _BLOCK)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in FULL:
            raise FullDiskError(f"{named} {target}: {folder} is full ({reason}); free some space") from None
        raise InputError(f"{named} {target}: cannot write in {folder} ({reason}); {remedy}") from None
