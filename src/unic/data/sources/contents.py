"""Comparison of images byte for byte, to find the same image under different names."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int

from unic.data.cache_dir import default_cache_dir
from unic.data.sources.base import DamagedImageError, Source
from unic.digest import sha256_of_value
from unic.files import written

log = logging.getLogger("unic")

_SLICE = 4096  # bytes at the head, in the middle and at the end; different photographs rarely share all three
_KEPT_FROM = 20_000  # images from which comparing them again would take seconds


def content_numbers(*sources: Source) -> list[Int[np.ndarray, " _"]]:
    """A number for the content of each image: images with equal bytes have equal numbers, across all sources.

    Large files are first compared by their sizes and three slices; only those that agree are read whole. An image that
    cannot be read has a negative number of its own. The numbers of a large set are cached.

    Args:
        sources: any sources.

    Returns:
        For each source, the numbers of its images.
    """
    lengths = [len(source) for source in sources]
    if sum(lengths) < _KEPT_FROM:
        return _compare(sources)
    key = sha256_of_value([source.fingerprint() for source in sources])[:32]
    file = default_cache_dir() / "contents" / f"{key}.npy"
    try:
        numbers = np.load(file, allow_pickle=False)
        if numbers.shape == (sum(lengths),):
            return np.split(numbers, np.cumsum(lengths)[:-1])
    except (OSError, ValueError, EOFError):
        pass
    log.info("comparing the contents of %d images", sum(lengths))
    compared = _compare(sources)
    _keep(np.concatenate(compared), file)
    return compared


def _compare(sources: tuple[Source, ...]) -> list[np.ndarray]:
    keys = [[_key(source, index, _sketch) for index in range(len(source))] for source in sources]
    alike = {key for key, count in Counter(key for part in keys for key in part if key).items() if count > 1}
    for source, part in zip(sources, keys, strict=True):
        for index, key in enumerate(part):
            if key in alike:
                part[index] = _key(source, index, lambda stream, _: stream.read())
    numbers: dict[bytes, int] = {}
    unread = iter(range(-1, -sum(map(len, keys)) - 1, -1))
    return [
        np.array([numbers.setdefault(key, len(numbers)) if key else next(unread) for key in part], dtype=np.int32)
        for part in keys
    ]


def _key(source: Source, index: int, of: Callable[[BinaryIO, int], bytes]) -> bytes | None:
    """Hash of the bytes that `of` takes from an image's stream and size; None if it cannot be read or is empty."""
    try:
        stored = source.stored(index)
        if isinstance(stored, bytes):
            data = of(io.BytesIO(stored), len(stored))
        elif stat.S_ISREG(os.stat(stored).st_mode):  # opening a pipe would wait for a writer
            with stored.open("rb", buffering=0) as stream:
                data = of(stream, os.fstat(stream.fileno()).st_size)
        else:
            return None
    except (DamagedImageError, OSError, ValueError):
        return None
    return hashlib.blake2b(data, digest_size=16).digest() if data else None


def _sketch(stream: BinaryIO, size: int) -> bytes:
    """Size and three slices of a file; all of a small file."""
    if size <= 4 * _SLICE:
        return stream.read()
    parts = [size.to_bytes(8, "little")]
    for place in (0, size // 2, size - _SLICE):
        stream.seek(place)
        parts.append(stream.read(_SLICE))
    return b"".join(parts)


def _keep(numbers: np.ndarray, file: Path) -> None:
    with suppress(OSError):  # a full or read-only disk: the images are compared again next time
        with written(file) as partial, partial.open("wb") as stream:
            np.save(stream, numbers, allow_pickle=False)
