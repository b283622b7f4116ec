"""Base class of sources whose images are files of a folder or a list."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from PIL import Image

from unic.data.decode import decode
from unic.data.sources._names import Names
from unic.data.sources.base import Source


class ImageFiles(Source):
    """Images by the names of their files. Fingerprints use names, sizes and times; reading all bytes takes too long."""

    _names: Names

    def __len__(self) -> int:
        return len(self._names)

    def read(self, index: int) -> Image.Image:
        return decode(self.encoded(index))

    @abstractmethod
    def encoded(self, index: int) -> Path:
        """The file of an image. Raises `DamagedImageError` as `read` does."""

    def name(self, index: int) -> str:
        return self._names[index]

    def fingerprint(self) -> str:
        """Hash of the names, sizes and modification times of the files."""
        return self._digest(with_times=True)

    def portable_fingerprint(self) -> str:
        return self._digest(with_times=False)

    @abstractmethod
    def _digest(self, *, with_times: bool) -> str:
        """Hash of the names and sizes of the files and, with `with_times`, of their modification times."""
