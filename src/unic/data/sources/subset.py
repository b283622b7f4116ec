"""A fixed random subset of a source: the same images for everyone who asks for the same number of them."""

from __future__ import annotations

import torch

from unic import rng
from unic.data.sources.base import Source
from unic.data.sources.selection import Selection


class Subset(Selection):
    """`limit` images of `source`, drawn without their labels and with a fixed key.

    Distillation and evaluation therefore see the same images, and a smaller limit is a subset of a larger one.
    """

    def __init__(self, source: Source, limit: int) -> None:
        keys = rng.uniform(rng.stream("subset"), torch.arange(len(source)))
        chosen = torch.argsort(keys, stable=True)[:limit]
        super().__init__(source.path, source, chosen.sort().values.numpy())

    def number(self, index: int) -> int:
        return self._source.number(int(self._indices[index]))

    def _digest(self, of_source: str) -> str:
        return f"{of_source}/{len(self)}"
