"""One run at a time in a folder: a kernel lock on `RUN/.lock`, which also says who holds it.

The kernel (or the NFS server) releases the lock when its process dies, so no stale lock is left. Where a file system
has no locks, the text of the file decides: a process of this machine that has died holds nothing.

Caches use `filelock` instead. It does not say which process holds a lock, and falls back to a plain file only where the
system call is missing. A run needs both: a second run is told who uses the folder, and run folders also lie on network
disks without locks.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unic._regular_files import read_json
from unic.errors import InputError
from unic.runs.folder import RunFolder

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds the lock of a run folder until the block ends; makes the folder if it is missing.

    Raises:
        InputError: another process uses the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = RunFolder(folder).lock
    descriptor = _take(path)
    me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(me).encode(), 0)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before the release, so that the next process sees that this file is gone
        os.close(descriptor)


def check(folder: Path) -> None:
    """Raises `InputError` if another process uses the folder; does not touch it."""
    if (RunFolder(folder).lock).exists():
        os.close(_take(RunFolder(folder).lock))


def _take(path: Path) -> int:
    """An open descriptor of the locked file."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            free = _lock(descriptor)
            if not (_is_stale(_read(path)) if free is None else free):
                raise InputError(f"run {path.parent}: in use by {_who(_read(path))}; wait for its end, or stop it")
            if _is_same(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder has just removed this file


def _lock(descriptor: int) -> bool | None:
    """Whether the lock was taken; None where the file system has no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_stale(holder: dict[str, Any]) -> bool:
    """Whether nobody can hold the lock: no holder is named, or it is a process of this machine that has ended."""
    if not holder:
        return True
    if holder.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError, TypeError):
        return True
    except PermissionError:
        return False
    return False


def _who(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')} (since {holder.get('since')})"
