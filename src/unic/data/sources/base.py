"""`Source`: a numbered list of images, each with an optional label."""

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

MAX_PIXELS = 200_000_000  # of a picture, unless a recipe says otherwise
_AT_ONCE = 1 << 20  # keys that are hashed at a time: a hash of all would need four times the memory of the order


class DamagedImageError(Exception):
    """One image cannot be decoded; `str(error)` is the reason. Never ends a run."""


class Source(ABC):
    """A finite, indexable set of images. The `index` that its methods take says which image, from 0.

    Attributes:
        path: as the user wrote it.
        classes: class names if the images, or the pixels of their targets, are labelled; else None.
        why_unlabelled: where `classes` is None, the reason as a clause, if there is more to say than that nothing names
            them.
        pixels: what `target` gives; None: nothing.
        in_pieces: whether images near each other in `order` should be read near each other in time.
        max_pixels: batches leave larger pictures out as damaged.
    """

    path: str
    pixels: Literal["masks", "depth"] | None = None
    classes: list[str] | None = None
    why_unlabelled: str = ""
    in_pieces: bool = False
    max_pixels: int = MAX_PIXELS

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> Image.Image:
        """The image as RGB, upright (EXIF applied). Raises `DamagedImageError`."""

    def encoded(self, index: int) -> bytes | Path | None:
        """The file that `read` decodes and only decodes, for `unic.data.decode.decode_part`; None: there is none.

        Raises `DamagedImageError` like `read`."""
        return None

    def stored(self, index: int) -> bytes | Path:
        """What the image is told from others by: its file as it is stored, without looking into it; its pixels where
        there is none. Raises `DamagedImageError` like `read`."""
        found = self.encoded(index)
        if found is not None:
            return found
        image = self.read(index)
        return f"{image.mode} {image.size} ".encode() + image.tobytes()

    @abstractmethod
    def label(self, index: int) -> int | None:
        """Class index, or None for unlabelled images."""

    def target(self, index: int) -> np.ndarray | None:
        """What is known of every pixel of `read(index)`, `(H, W)` of the same size: class indices (uint8, 255 where
        nothing is asked) or metres (float32, 0 where unknown). None where only images are there, the usual case."""
        return None

    def order(self, *keys: int) -> Int[Tensor, " n"]:
        """A random permutation of all indices, the same for the same keys."""
        return permutation(len(self), *keys)

    def expect(self, indices: Int[Tensor, " m"]) -> None:  # noqa: B027  # most have nothing to do
        """Images that will be read soon: a source that must fetch them may begin."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What to call the image in a list of damaged ones (file name, or file and row)."""

    def number(self, index: int) -> int:
        """The image's number in the whole set, of which this may be a subset."""
        return index

    def siblings(self, index: int) -> tuple[int, int]:
        """Index of the first, and number, of the images that one may be mixed with: those of its own source."""
        return 0, len(self)

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the content (or, for large folders, of names, sizes and times), for the feature cache."""

    def portable_fingerprint(self) -> str:
        """The same for a copy elsewhere, whose files have other times: of a folder, hash of names and sizes."""
        return self.fingerprint()

    def label_fingerprint(self) -> str:
        """Hash of labels and names of classes. Features do not depend on them, what is measured does."""
        labels = (self.label(index) for index in range(len(self)))
        numbers = np.fromiter((-1 if label is None else label for label in labels), np.int64)
        return sha256(repr(self.classes), numbers.tobytes())


def permutation(length: int, *keys: int) -> Int[Tensor, " n"]:
    """A random permutation of `0 … length - 1`, the same for the same keys."""
    return torch.argsort(draws(length, *keys), stable=True)


def draws(length: int, *keys: int) -> Tensor:
    """`(length,)` uniform numbers in [0, 1): `rng.uniform` in little memory."""
    found = torch.empty(length)
    for start in range(0, length, _AT_ONCE):
        stop = min(start + _AT_ONCE, length)
        found[start:stop] = rng.uniform(*keys, torch.arange(start, stop))
    return found
