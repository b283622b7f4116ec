"""`Source`: a numbered list of images, each with an optional label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image


class DamagedImageError(Exception):
    """One image cannot be decoded; `str(error)` is the reason. Never ends a run."""


class Source(ABC):
    """A finite, indexable set of images.

    Attributes:
        path: as the user wrote it.
        classes: class names if the images, or the pixels of their targets, are labelled; else None.
        pixels: what `target` gives; None: nothing.
    """

    path: str
    pixels: Literal["masks", "depth"] | None = None
    classes: list[str] | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> Image.Image:
        """The image as RGB, upright (EXIF applied). Raises `DamagedImageError`."""

    def encoded(self, index: int) -> bytes | Path | None:
        """The file that `read` decodes and only decodes, for `unic.data.decode.decode_part`; None: there is none.

        Raises `DamagedImageError` like `read`."""
        return None

    @abstractmethod
    def label(self, index: int) -> int | None:
        """Class index, or None for unlabelled images."""

    def target(self, index: int) -> np.ndarray | None:
        """What is known of every pixel of `read(index)`, `(H, W)` of the same size: class indices (uint8, 255 where
        nothing is asked) or metres (float32, 0 where unknown). None where only images are there, the usual case."""
        return None

    @abstractmethod
    def name(self, index: int) -> str:
        """What to call the image in a list of damaged ones (file name, or file and row)."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the content (or, for large folders, of names, sizes and times), for the feature cache."""
