"""Labelled images in an array in memory, for small sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from unic.data.sources.base import Source
from unic.digest import sha256


class Arrays(Source):
    """Images of one size in an array.

    Args:
        path: name of the set.
        images: `(n, h, w)` grey or `(n, h, w, 3)` RGB, uint8.
        labels: `(n,)` class indices.
        classes: names of the classes.
    """

    def __init__(
        self,
        path: str,
        images: UInt8[np.ndarray, "n h w *rgb"],
        labels: Int[np.ndarray, " n"] | UInt8[np.ndarray, " n"],
        classes: Sequence[str],
    ) -> None:
        assert len(images) == len(labels), (images.shape, labels.shape)
        assert images.dtype == np.uint8, images.dtype
        self.path, self.classes = path, list(classes)
        self._images, self._labels = np.ascontiguousarray(images), np.asarray(labels, dtype=np.int32)
        self._fingerprint: str | None = None

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> Image.Image:
        return Image.fromarray(self._images[index]).convert("RGB")

    def label(self, index: int) -> int:
        return int(self._labels[index])

    def name(self, index: int) -> str:
        return f"{self.path}[{index}]"

    def fingerprint(self) -> str:
        """Hash of the pixels."""
        if self._fingerprint is None:
            self._fingerprint = sha256(repr(self._images.shape), self._images.data)[:16]
        return self._fingerprint
