"""SHA-256: the one way in which keys, fingerprints and checksums are made.

All functions return 64 hexadecimal digits, of which a key may take the first few. A key must keep the order and the
separators of its parts: with others it does not find what earlier versions of unic have stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

Hashed = str | bytes | memoryview
"""Bytes, or a text, which is hashed as UTF-8."""
_BLOCK = 1 << 20  # bytes


def sha256(*parts: Hashed) -> str:
    """The digest of all parts joined together, whatever the boundaries between them."""
    return sha256_of_each(parts)


def sha256_of_each(parts: Iterable[Hashed]) -> str:
    """The digest of all parts joined together, where not all of them are in memory at once."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def sha256_of_value(value: object) -> str:
    """The digest of the `repr` of a value made of numbers, texts, tuples, lists and dicts."""
    return sha256(repr(value))


def sha256_of_file(file: Path) -> str:
    """The digest of a file's content. Raises `OSError`."""
    return sha256_of_each(blocks_of(file))


def blocks_of(file: Path) -> Iterator[bytes]:
    """A file's content block by block, for files larger than the memory. Raises `OSError`."""
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block
