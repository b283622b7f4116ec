"""The images of a run: its sources joined to one list, and the order of each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from unic import rng
from unic.data.holdout import divided
from unic.data.sources import Source, open_source
from unic.data.sources.base import MAX_PIXELS, permutation
from unic.recipe.sections import SourceSection


class ImageList(Source):
    """Sources joined to one list; an epoch sees each source `weight` times.

    With weight 0.5 an epoch sees a random half of a source, and the next epoch the other half. With weight 1.5 an epoch
    sees the whole source and a half of it again.

    Args:
        sources: at least one source.
        weights: a weight above 0 for each source; None: all are 1.

    Attributes:
        held_out: the images of each source that `data.holdout` leaves out of this list; empty without it.
    """

    held_out: Sequence[Source] = ()

    def __init__(self, sources: Sequence[Source], weights: Sequence[float] | None = None) -> None:
        self.sources = list(sources)
        self.weights = [1.0] * len(self.sources) if weights is None else list(weights)
        assert self.sources, "an ImageList needs a source"
        assert len(self.sources) == len(self.weights), (len(self.sources), len(self.weights))
        assert min(self.weights) > 0, self.weights
        self.path = ", ".join(source.path for source in self.sources)
        first = self.sources[0].classes
        self.classes = first if all(source.classes == first for source in self.sources) else None
        self.in_pieces = any(source.in_pieces for source in self.sources)
        self._starts = [0]
        for source in self.sources:
            self._starts.append(self._starts[-1] + len(source))

    @classmethod
    def from_config(
        cls, train: Sequence[SourceSection], max_pixels: int = MAX_PIXELS, holdout: float = 0.0
    ) -> ImageList:
        """Opens the sources of a recipe's `data.train`.

        Args:
            train: the entries of `data.train`.
            max_pixels: the recipe's `data.max_pixels`; an image with more pixels counts as damaged.
            holdout: the recipe's `data.holdout`: share of each source that is not trained on.

        Raises:
            InputError: a source cannot be opened, or not be divided.
        """
        sources = [open_source(entry.path, entry.limit, window=entry.window) for entry in train]
        held_out: list[Source] = []
        if holdout:
            parts = [divided(source, holdout) for source in sources]
            sources, held_out = [part[0] for part in parts], [part[1] for part in parts]
        images = cls(sources, [entry.weight for entry in train])
        images.held_out = held_out
        for source in (images, *sources, *held_out):
            source.max_pixels = max_pixels
        return images

    def __len__(self) -> int:
        return self._starts[-1]

    def _find(self, index: int) -> tuple[Source, int]:
        assert 0 <= index < len(self), index
        place = next(place for place, start in enumerate(self._starts[1:]) if index < start)
        return self.sources[place], index - self._starts[place]

    def read(self, index: int) -> Image.Image:
        source, local = self._find(index)
        return source.read(local)

    def encoded(self, index: int) -> bytes | Path | None:
        source, local = self._find(index)
        return source.encoded(local)

    def label(self, index: int) -> int | None:
        source, local = self._find(index)
        return None if self.classes is None else source.label(local)

    def name(self, index: int) -> str:
        source, local = self._find(index)
        return f"{source.path}: {source.name(local)}"

    def siblings(self, index: int) -> tuple[int, int]:
        source, local = self._find(index)
        first, length = source.siblings(local)
        return index - local + first, length

    def source_of(self, index: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """Index of the source of each image."""
        return torch.searchsorted(torch.tensor(self._starts), index, right=True) - 1

    def expect(self, indices: Int[Tensor, " m"]) -> None:
        places = self.source_of(indices)
        for place, source in enumerate(self.sources):
            if source.in_pieces:
                source.expect(indices[places == place] - self._starts[place])

    def fingerprint(self) -> str:
        return "+".join(source.fingerprint() for source in self.sources)

    def portable_fingerprint(self) -> str:
        return "+".join(source.portable_fingerprint() for source in self.sources)

    def epoch_length(self) -> int:
        """Number of images of an epoch, the same for every epoch."""
        return sum(self._visits())

    def _visits(self) -> list[int]:
        return [max(1, round(len(source) * weight)) for source, weight in zip(self.sources, self.weights, strict=True)]

    def epoch_order(self, seed: int, epoch: int) -> Int[Tensor, " n"]:
        """Indices of the images in the order in which an epoch (from 0) sees them; `n = epoch_length()`."""
        return self.epoch_visits(seed, epoch)[0]

    def epoch_visits(self, seed: int, epoch: int) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        """The order of an epoch and, for each image, the number of passes over its source so far.

        Each source is an endless sequence of keyed permutations, one for each pass over it; every epoch takes the next
        piece of the sequence. The pass keys the view. So with weight 2 an epoch sees two different views of an image,
        and with weight 0.5 and cached views each half of the source still sees all views.

        Args:
            seed: seed of the run.
            epoch: from 0.

        Returns:
            Indices of the images, and the pass of each, from 0.
        """
        indices, passes = [], []
        for place, (source, count) in enumerate(zip(self.sources, self._visits(), strict=True)):
            length = len(source)
            first, last = epoch * count, (epoch + 1) * count
            for done in range(first // length, (last - 1) // length + 1):
                order = source.order(seed, rng.stream("pass"), place, done)
                piece = order[max(first - done * length, 0) : last - done * length]
                indices.append(piece + self._starts[place])
                passes.append(torch.full_like(piece, done))
        mixed = permutation(sum(map(len, indices)), seed, rng.stream("epoch"), epoch)
        start = 0
        for source, count in zip(self.sources, self._visits(), strict=True):
            if source.in_pieces:  # keeps its own order, so that its pieces are read one after another
                mixed[(mixed >= start) & (mixed < start + count)] = torch.arange(start, start + count)
            start += count
        return torch.cat(indices)[mixed], torch.cat(passes)[mixed]
