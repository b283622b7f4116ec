"""Where a command writes: found out before its work, which may take hours. Files appear whole, with usual rights."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import uuid
from pathlib import Path
from typing import Literal

from unic.errors import InputError, StoppedError

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
        StoppedError: its disk is full.
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
            raise StoppedError(f"{named} {target}: {folder} is full ({reason}); free some space") from None
        raise InputError(f"{named} {target}: cannot write in {folder} ({reason}); name another place") from None


def write_whole(path: Path, content: bytes) -> Path:
    """Writes a file, whole or not at all, with the rights that the user's umask gives; makes its folder.

    Returns:
        The path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def give_rights(path: Path) -> None:
    """Gives a file the rights that a new one has beside it: safetensors makes files that only their owner can read.

    The umask itself can only be read by setting it, which other threads would feel.
    """
    probe = _beside(path)
    try:
        probe.touch()
        path.chmod(stat.S_IMODE(probe.stat().st_mode))
    finally:
        probe.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{uuid.uuid4().hex}.partial")
