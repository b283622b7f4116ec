"""Some images of a source, by their indices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int
from PIL import Image

from unic.data.sources.base import Source
from unic.digest import sha256


class Selection(Source):
    """The images of `source` with the given indices, in their order.

    Args:
        path: as the user wrote it.
        source: all images.
        indices: `(m,)` indices of images of `source`.
    """

    def __init__(self, path: str, source: Source, indices: Int[np.ndarray, " m"]) -> None:
        self.path, self.classes, self.pixels = path, source.classes, source.pixels
        self.why_unlabelled = source.why_unlabelled
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> Image.Image:
        return self._source.read(int(self._indices[index]))

    def encoded(self, index: int) -> bytes | Path | None:
        return self._source.encoded(int(self._indices[index]))

    def stored(self, index: int) -> bytes | Path:
        return self._source.stored(int(self._indices[index]))

    def label(self, index: int) -> int | None:
        return self._source.label(int(self._indices[index]))

    def target(self, index: int) -> np.ndarray | None:
        return self._source.target(int(self._indices[index]))

    def name(self, index: int) -> str:
        return self._source.name(int(self._indices[index]))

    def fingerprint(self) -> str:
        """Hash of the source's fingerprint and of the indices."""
        return self._digest(self._source.fingerprint())

    def portable_fingerprint(self) -> str:
        return self._digest(self._source.portable_fingerprint())

    def _digest(self, of_source: str) -> str:
        return sha256(of_source, np.ascontiguousarray(self._indices, dtype=np.int64).tobytes())[:16]
