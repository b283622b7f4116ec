"""SHA-256 of what decides a result: the one way in which keys, fingerprints and checksums are made.

All functions give 64 hexadecimal digits; a key takes as many of them as it needs. What goes in is decided by each key:
two keys are equal where their bytes are, so a changed order or separator finds nothing of earlier versions again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

Part = str | bytes | memoryview
"""Bytes, or a text that counts in UTF-8."""
_BLOCK = 1 << 20  # bytes


def sha256(*parts: Part) -> str:
    """The digest of parts, one after another; where one ends and the next begins is not told apart."""
    return sha256_of_each(parts)


def sha256_of_each(parts: Iterable[Part]) -> str:
    """The same for parts that are not all in memory at once."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def sha256_of_value(value: object) -> str:
    """The digest of a value that consists of numbers, texts, tuples, lists and dicts, by its `repr`."""
    return sha256(repr(value))


def sha256_of_file(file: Path) -> str:
    """The digest of the content of a file. Raises `OSError`."""
    return sha256_of_each(blocks_of(file))


def blocks_of(file: Path) -> Iterator[bytes]:
    """The content of a file, which may be larger than the memory. Raises `OSError`."""
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block
