"""`Source`, the base class of image sources: a list of images, each with an optional label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from unic import rng
from unic.digest import sha256

MAX_PIXELS = 200_000_000  # of a picture, unless a recipe sets `data.max_pixels`
_AT_ONCE = 1 << 20  # keys hashed at a time; hashing all at once would take four times the memory of the order


class DamagedImageError(Exception):
    """An image cannot be read; `str(error)` is the reason. A single such error does not end a run."""


class Source(ABC):
    """A set of images. Its methods take the `index` of an image, from 0.

    Attributes:
        path: as the user wrote it.
        classes: names of the classes, if the images or the pixels of their targets are labelled; else None.
        why_unlabelled: the reason why `classes` is None, as a clause; empty if it is plain that nothing names classes.
        pixels: kind of the targets: "masks" or "depth"; None: there are no targets.
        in_pieces: True if `order` should be read sequentially (shards on remote storage).
        max_pixels: largest number of pixels of a picture; batches leave larger ones out as damaged.
    """

    path: str
    pixels: Literal["masks", "depth"] | None = None
    classes: list[str] | None = None
    why_unlabelled: str = ""
    in_pieces: bool = False
    max_pixels: int = MAX_PIXELS

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def read(self, index: int) -> Image.Image:
        """The image as RGB, upright (EXIF applied). Raises `DamagedImageError`."""

    def encoded(self, index: int) -> bytes | Path | None:
        """The image file, as bytes or path, if `read` does nothing but decode it; else None.

        Training decodes only a part of it (`unic.data.decode.decode_part`). Raises `DamagedImageError`."""
        return None

    def stored(self, index: int) -> bytes | Path:
        """The content by which the image is compared with others: its file, or its pixels if it has no file.

        The file is not decoded. Raises `DamagedImageError`."""
        file = self.encoded(index)
        if file is not None:
            return file
        image = self.read(index)
        return f"{image.mode} {image.size} ".encode() + image.tobytes()

    @abstractmethod
    def label(self, index: int) -> int | None:
        """Class index of the image; None: it has no label."""

    def target(self, index: int) -> np.ndarray | None:
        """A value for every pixel of `read(index)`, `(H, W)`; None: the set has no targets, the usual case.

        Values are class indices (uint8, 255: ignored) or depths in metres (float32, 0: unknown)."""
        return None

    def order(self, *keys: int) -> Int[Tensor, " n"]:
        """A random permutation of all indices, the same for the same keys."""
        return permutation(len(self), *keys)

    def expect(self, indices: Int[Tensor, " m"]) -> None:  # noqa: B027  # most have nothing to do
        """Announces images that will be read soon, so that a streamed source can begin to fetch them."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Name of the image in messages: its file, or the file and the row."""

    def number(self, index: int) -> int:
        """Index of the image in the whole set; differs from `index` if this is a subset."""
        return index

    def siblings(self, index: int) -> tuple[int, int]:
        """The images that this one may be mixed with, those of its own source: index of the first, and their number."""
        return 0, len(self)

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the images, for keys of caches: of their content or, if that is large, of names, sizes and times."""

    def portable_fingerprint(self) -> str:
        """Hash of the images that does not depend on times of files, so that a copy on another machine has the same."""
        return self.fingerprint()

    def label_fingerprint(self) -> str:
        """Hash of the labels and the names of the classes. Scores depend on them, features do not."""
        labels = (self.label(index) for index in range(len(self)))
        indices = np.fromiter((-1 if label is None else label for label in labels), np.int64)
        return sha256(repr(self.classes), indices.tobytes())


def permutation(length: int, *keys: int) -> Int[Tensor, " n"]:
    """A random permutation of `0 … length - 1`, the same for the same keys."""
    return torch.argsort(draws(length, *keys), stable=True)


def draws(length: int, *keys: int) -> Tensor:
    """`(length,)` uniform numbers in [0, 1), the same for the same keys: `rng.uniform` with less memory."""
    numbers = torch.empty(length)
    for start in range(0, length, _AT_ONCE):
        stop = min(start + _AT_ONCE, length)
        numbers[start:stop] = rng.uniform(*keys, torch.arange(start, stop))
    return numbers
