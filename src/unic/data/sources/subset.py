"""A fixed random subset of a source: the same images for everyone who asks for the same number of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from unic import rng
from unic.data.sources.base import Source


class Subset(Source):
    """`limit` images of `source`, drawn without their labels and with a fixed key.

    Distillation and evaluation therefore see the same images, and a smaller limit is a subset of a larger one.
    """

    def __init__(self, source: Source, limit: int) -> None:
        keys = rng.uniform(rng.stream("subset"), torch.arange(len(source)))
        chosen = torch.argsort(keys, stable=True)[:limit]
        self.path, self.classes, self.pixels = source.path, source.classes, source.pixels
        self._source = source
        self._indices = chosen.sort().values.numpy()

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> Image.Image:
        return self._source.read(int(self._indices[index]))

    def encoded(self, index: int) -> bytes | Path | None:
        return self._source.encoded(int(self._indices[index]))

    def label(self, index: int) -> int | None:
        return self._source.label(int(self._indices[index]))

    def target(self, index: int) -> np.ndarray | None:
        return self._source.target(int(self._indices[index]))

    def name(self, index: int) -> str:
        return self._source.name(int(self._indices[index]))

    def number(self, index: int) -> int:
        return self._source.number(int(self._indices[index]))

    def fingerprint(self) -> str:
        return f"{self._source.fingerprint()}/{len(self)}"
