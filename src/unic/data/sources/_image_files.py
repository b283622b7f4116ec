"""Sources whose images are files: read by their names, and told from others by names, sizes and times."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from PIL import Image

from unic.data.decode import decode
from unic.data.sources._names import Names
from unic.data.sources.base import Source


class ImageFiles(Source):
    """What folders and lists of files share. Reading every byte of a large set for its hash would take too long."""

    _names: Names

    def __len__(self) -> int:
        return len(self._names)

    def read(self, index: int) -> Image.Image:
        return decode(self.encoded(index))

    @abstractmethod
    def encoded(self, index: int) -> Path:
        """The file of an image. Raises `DamagedImageError` like `read`."""

    def name(self, index: int) -> str:
        return self._names[index]

    def fingerprint(self) -> str:
        """Hash of names, sizes and modification times."""
        return self._digest(with_times=True)

    def portable_fingerprint(self) -> str:
        return self._digest(with_times=False)

    @abstractmethod
    def _digest(self, *, with_times: bool) -> str:
        """Hash of names and sizes, and of modification times on request."""
