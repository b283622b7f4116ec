"""Names of files and classes: their form for comparison, and a compact list of many names."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator

import numpy as np


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC). The same letters can be stored in two ways; macOS uses the other one."""
    return unicodedata.normalize("NFC", name)


class Names:
    """An immutable list of names in one block of bytes.

    A million strings would be a million objects, whose reference counts make every worker copy their memory.
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
        """Yields all names as the file system has them."""
        start = 0
        for end in self._ends.tolist():
            yield self._block[start:end]
            start = end
