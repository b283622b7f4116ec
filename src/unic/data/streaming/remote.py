"""Files that lie elsewhere, read as streams: http(s) by the standard library, s3, gs, hf and the like by fsspec.

No opener starts a program: `pipe:` is refused, and so is everything else that is not in `SCHEMES`.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from unic.errors import InputError, nearest, reason_of

SCHEMES = ("http", "https", "s3", "gs", "gcs", "hf", "az", "abfs", "file")
_PATIENCE = 60  # seconds without a byte


def check_url(path: str, url: str) -> None:
    """Raises `InputError` for what is not fetched, before anything is."""
    if url.startswith("pipe:"):
        raise InputError(f"data '{path}': 'pipe:' runs a shell command, which no data set may; name the files by URL")
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise InputError(f"data '{path}': cannot open '{scheme}://'{nearest(scheme, SCHEMES)}")


@contextmanager
def open_url(url: str) -> Iterator[BinaryIO]:
    """A stream of bytes. Raises `OSError` if there is nothing, or `InputError` for a missing package."""
    if url.startswith(("http://", "https://")):
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
            yield answer
        return
    with open_seekable(url) as file:
        yield file


@contextmanager
def open_seekable(url: str) -> Iterator[Any]:
    """A file of which parts can be read. Raises as `open_url`."""
    import fsspec

    try:
        opened = fsspec.open(url, "rb")
    except ImportError as error:  # fsspec's own words name the package
        raise InputError(f"data '{url}': {reason_of(error)}") from None
    with opened as file:
        yield file
