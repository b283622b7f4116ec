"""A fixed random subset of a source, which depends on its size only."""

from __future__ import annotations

import torch

from unic import rng
from unic.data.sources.base import Source
from unic.data.sources.selection import Selection


class Subset(Selection):
    """`limit` images of `source`, drawn with a fixed key and without regard to labels.

    So distillation and evaluation see the same images, and a smaller subset is part of a larger one.

    Args:
        source: all images.
        limit: number of images.
    """

    def __init__(self, source: Source, limit: int) -> None:
        keys = rng.uniform(rng.stream("subset"), torch.arange(len(source)))
        chosen = torch.argsort(keys, stable=True)[:limit]
        super().__init__(source.path, source, chosen.sort().values.numpy())

    def number(self, index: int) -> int:
        return self._source.number(int(self._indices[index]))

    def _digest(self, of_source: str) -> str:
        return f"{of_source}/{len(self)}"
