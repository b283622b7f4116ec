"""Names of files and classes: the one form in which they are compared, and many of them in one block of bytes."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator

import numpy as np


def composed(name: str) -> str:
    """A name in Unicode's form NFC: the same letters can be stored in two ways, and macOS takes the other one."""
    return unicodedata.normalize("NFC", name)


class Names:
    """A list of names that cannot be changed.

    A million strings are a million objects, whose reference counts unshare every page of a worker process after a fork.
    """

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self._block = b"".join(encoded)
        self._ends = np.cumsum([len(name) for name in encoded])

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        start = self._ends[index - 1] if index > 0 else 0
        return os.fsdecode(self._block[start : self._ends[index]])

    def encoded(self) -> Iterator[bytes]:
        """All of them, as the file system has them."""
        start = 0
        for end in self._ends.tolist():
            yield self._block[start:end]
            start = end
