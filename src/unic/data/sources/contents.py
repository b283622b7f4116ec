"""Which images are the same, byte for byte, whatever they are called."""

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

_SLICE = 4096  # bytes at the head, in the middle and at the end: two photographs that share them share all, mostly
_KEPT_FROM = 20_000  # images from which comparing them again takes seconds


def content_numbers(*sources: Source) -> list[Int[np.ndarray, " _"]]:
    """A number for the content of each image: equal numbers, equal bytes.

    Large files are first told apart by their size and three slices; only those that look alike are read whole. An image
    that cannot be read has a negative number that no other has. The answer for a large set is kept in the cache.

    Args:
        sources: the images, numbered across all of them.

    Returns:
        For each source an array of its length.
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
    found = _compare(sources)
    _keep(np.concatenate(found), file)
    return found


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
    """A short hash of what `of` takes from an image; None if it cannot be read or is empty."""
    try:
        stored = source.stored(index)
        if isinstance(stored, bytes):
            data = of(io.BytesIO(stored), len(stored))
        elif stat.S_ISREG(os.stat(stored).st_mode):  # opening a pipe waits for a writer
            with stored.open("rb", buffering=0) as stream:
                data = of(stream, os.fstat(stream.fileno()).st_size)
        else:
            return None
    except (DamagedImageError, OSError, ValueError):
        return None
    return hashlib.blake2b(data, digest_size=16).digest() if data else None


def _sketch(stream: BinaryIO, size: int) -> bytes:
    if size <= 4 * _SLICE:
        return stream.read()
    parts = [size.to_bytes(8, "little")]
    for place in (0, size // 2, size - _SLICE):
        stream.seek(place)
        parts.append(stream.read(_SLICE))
    return b"".join(parts)


def _keep(numbers: np.ndarray, file: Path) -> None:
    with suppress(OSError):  # a disk that is full or read-only: it is found out again next time
        with written(file) as partial, partial.open("wb") as stream:
            np.save(stream, numbers, allow_pickle=False)
