"""Small files that strangers may have written: reading them neither waits for a pipe nor reads a device."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

_MOST = 256 << 20  # bytes; the results.json of a thousand models has a few megabytes


def read_bytes(path: Path, most: int | None = _MOST) -> bytes:
    """The content of a regular file.

    Args:
        most: the largest size in bytes; None: no limit.

    Raises:
        OSError: the file is missing, or is not a regular file.
        ValueError: the file is larger than `most`.
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
    """The content of a regular file as text. Raises `ValueError` for text that is not UTF-8."""
    return read_bytes(path).decode("utf-8")


def read_json(path: Path) -> Any:
    """The content of a regular file as JSON. Raises `ValueError` for text that is not JSON."""
    try:
        return json.loads(read_text(path))
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
