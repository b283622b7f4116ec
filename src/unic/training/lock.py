"""One run at a time in a folder: a kernel lock on `RUN/.lock`, which also says who holds it.

The kernel (or the NFS server) lets go of the lock when its process dies, however it dies, so nothing is left behind.
Where a file system has no locks, what the file says decides: a dead process of this machine counts for nothing.

Caches use the locks of `filelock` instead. Those do not say which process holds them, and a plain file stands in for
them only where the system call is missing. A run needs both: a second one is told who works in the folder, and runs lie
on network disks without locks, too.
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
    """Holds the folder, which is made if it is absent, until the block ends.

    Raises:
        InputError: another process works in it.
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
        path.unlink(missing_ok=True)  # before the lock goes: whoever waits for it sees that this file is no longer it
        os.close(descriptor)


def check(folder: Path) -> None:
    """Refuses a folder that another process works in, without touching it. Raises `InputError`."""
    if (RunFolder(folder).lock).exists():
        os.close(_take(RunFolder(folder).lock))


def _take(path: Path) -> int:
    """An open descriptor of the locked file."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            free = _lock(descriptor)
            if not (_is_stale(_read(path)) if free is None else free):
                raise InputError(f"run {path.parent}: {_who(_read(path))} works in it; wait for it, or end it first")
            if _is_same(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder has just left and removed it


def _lock(descriptor: int) -> bool | None:
    """Whether the lock could be had; None where there are no locks."""
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
    """Whether nobody can be holding: no name in it, or a process of this machine that has ended."""
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
