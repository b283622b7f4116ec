"""Remote files, opened by URL: http and https with the standard library, s3, gs, hf and others with fsspec.

Only the schemes in `SCHEMES` are opened, none of which starts a program; `pipe:` would.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from unic.errors import InputError, nearest, reason_of

SCHEMES = ("http", "https", "s3", "gs", "gcs", "hf", "az", "abfs", "file")
_TIMEOUT = 60  # seconds without a byte


def check_url(path: str, url: str) -> None:
    """Raises `InputError` for a URL whose scheme is not supported."""
    if url.startswith("pipe:"):
        raise InputError(f"data '{path}': 'pipe:' runs a shell command, which is not allowed; name the files by URL")
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise InputError(f"data '{path}': cannot open '{scheme}://'{nearest(scheme, SCHEMES)}")


@contextmanager
def open_url(url: str) -> Iterator[BinaryIO]:
    """Opens a file for reading from its start on.

    Raises:
        OSError: the file is missing or cannot be reached.
        InputError: a package for the scheme is not installed.
    """
    if url.startswith(("http://", "https://")):
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            yield answer
        return
    with open_seekable(url) as file:
        yield file


@contextmanager
def open_seekable(url: str) -> Iterator[Any]:
    """Opens a file of which any part can be read. Raises as `open_url`."""
    import fsspec

    try:
        opened = fsspec.open(url, "rb")
    except ImportError as error:  # the message of fsspec names the package
        raise InputError(f"data '{url}': {reason_of(error)}") from None
    with opened as file:
        yield file
