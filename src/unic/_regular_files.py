"""Small files that others may have put there: a pipe is not waited for, and a device is not read for ever."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

_MOST = 256 << 20  # bytes: results.json of a thousand models has some megabytes


def read_bytes(path: Path, most: int | None = _MOST) -> bytes:
    """The content of a regular file.

    Args:
        most: bytes; None: any number.

    Raises:
        OSError: there is none, or it is something else.
        ValueError: it has more bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # opening a pipe waits for a writer
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if most is not None and status.st_size > most:
            raise ValueError(f"{path.name} has {status.st_size} bytes, more than {most}")
        return stream.read()


def read_text(path: Path) -> str:
    """The same as UTF-8; what is not, is a `ValueError`."""
    return read_bytes(path).decode("utf-8")


def read_json(path: Path) -> Any:
    """The same as JSON; what is not, is a `ValueError`."""
    try:
        return json.loads(read_text(path))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
