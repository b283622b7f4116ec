"""Atomic writes: a file is written whole or not at all, with the rights of the user's umask.

The content goes to a partial file in the same folder, which then replaces the old file in one step. So a reader always
sees the whole old content or the whole new one.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM)


@contextmanager
def written(path: Path, *, alone: bool = False, synced: bool = False) -> Iterator[Path]:
    """A partial file to write to. It becomes `path` at the end of the block, and is removed if the block fails.

    Args:
        path: the file to write; its folder is created. An existing file is replaced.
        alone: no other process or thread writes this file meanwhile. The partial file then always has the same name,
            so the next writer replaces one that a killed process has left.
        synced: the content is on the disk before the file gets its name, and the name is at the end of the block. So a
            machine that crashes leaves no empty file.

    Raises:
        OSError: the file cannot be written; an existing one is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name if alone else uuid.uuid4().hex}.partial")
    partial.unlink(missing_ok=True)
    try:
        partial.touch()
        rights = _rights(partial)  # the umask itself can only be read by setting it, which other threads would feel
        yield partial
        if _rights(partial) != rights:  # safetensors makes a file of its own, which only its owner can read
            partial.chmod(rights)
        if synced:
            sync(partial)
        os.replace(partial, path)
        if synced:
            sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, *, alone: bool = False, synced: bool = False) -> Path:
    """Writes a file whole or not at all; arguments and errors are those of `written`.

    Returns:
        The path.
    """
    with written(path, alone=alone, synced=synced) as partial:
        partial.write_bytes(content)
    return path


def write_text(path: Path, text: str, *, alone: bool = False, synced: bool = False) -> Path:
    """Writes a file whole or not at all, in UTF-8; arguments and errors are those of `written`.

    Returns:
        The path.
    """
    return write_bytes(path, text.encode(), alone=alone, synced=synced)


def sync(path: Path) -> None:
    """Waits until the content of a file, or the names in a folder, are on the disk.

    Windows and some network file systems cannot sync a folder, which is then skipped.
    """
    descriptor = None
    try:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in _UNSUPPORTED):
            raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
