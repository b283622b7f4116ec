"""Where a command writes: found out before its work, which may take hours."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Literal

from unic.errors import FullDiskError, InputError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Numbers of the errors that say: there is no room left."""
_BLOCK = 1 << 16  # bytes; what a command writes first is hardly ever less


def check_writable(target: Path, *, named: str, kind: Literal["file", "folder"] = "file") -> None:
    """Finds out whether a file or a folder, which may not be there yet, can be written. Leaves nothing behind.

    Args:
        target: the path.
        named: what the user calls it, for example `--out`.

    Raises:
        InputError: it leads through a file, is of the other kind, or this user cannot write there.
        FullDiskError: its disk is full.
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
        raise InputError(f"{named} {target}: cannot write in {folder} ({reason}); name another place") from None
