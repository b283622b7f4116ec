"""The anchor holds the student's own CLS near that of its start, on the images of some sources (`data.train.anchor`).

The distance of image i is a_i = 1 − cos(s_i − μ, t_i − μ), where s is the student's CLS without a projector, t the CLS
of its start, and μ the mean of t over such images. λ·a_i is added to each teacher's loss of the image, so the anchor
counts as often as the image does. Projectors read all blocks. Without an anchor what the start knew may leave the last
block, whose output users get, although every teacher is still matched. LDIFS (Mukhoti et al., TMLR 2024, arXiv
2308.13320) holds features rather than weights near the start, too.
Where a loss moves the student's view (`shift`), t is of the view that is not moved: the student's CLS should not follow
a move by a few patches.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from unic.data.image_list import ImageList
from unic.data.loader import view_batches
from unic.data.sources.selection import Selection
from unic.encoders import Encoder
from unic.encoders.base import Size
from unic.errors import InputError
from unic.recipe.schema import Recipe
from unic.training.distiller import Distiller

_IMAGES = 256  # that the mean is taken over


class Held(NamedTuple):
    """`terms`: λ·a_i of each image, with gradient; 0 without an anchor. `distances`: a_i of those with it, detached."""

    terms: Float[Tensor, "b"]
    distances: Float[Tensor, "n"]


class Anchor:
    """The start of a student, as a target.

    Args:
        student: before it is trained; a frozen copy is kept.
        images: the training images.
        weights: λ for each source; 0: its images have no anchor.
        side: side of the views, in pixels.
        size: at which the student sees the views while it trains, and so does its start; None: the student's own.
    """

    def __init__(
        self, student: Encoder, images: ImageList, weights: Float[Tensor, "s"], side: int, size: Size | None = None
    ) -> None:
        self._start = copy.deepcopy(student).freeze()
        self._images, self._weights, self._side, self._size = images, weights, side, size
        self._device = next(student.parameters()).device
        self._centre = self._mean()

    @staticmethod
    def of(recipe: Recipe, distiller: Distiller, images: ImageList) -> Anchor | None:
        """The anchor of a recipe; None if no source has one.

        Raises:
            InputError: a source is streamed.
        """
        if not is_asked(recipe):
            return None
        if images.in_pieces:
            raise InputError("recipe: 'data.train.anchor' does not support streamed sources: it reads in any order")
        weights = torch.tensor([source.anchor for source in recipe.data.train])
        return Anchor(distiller.student, images, weights, recipe.data.size, distiller.size)

    def load(self, start: Mapping[str, Tensor]) -> None:
        """Replaces the weights of the start, for example by those of a checkpoint."""
        self._start.load_state_dict(dict(start))
        self._centre = self._mean()

    def __call__(self, images: Float[Tensor, "b 3 h w"], cls: Float[Tensor, "b d"], index: Int[Tensor, "b"]) -> Held:
        """The terms of a batch.

        Args:
            images: the views, in [0, 1].
            cls: CLS tokens of the student, with gradient.
            index: index of the images, on the CPU.
        """
        weights = self._weights[self._images.source_of(index)]
        held = weights.nonzero().flatten().to(self._device, non_blocking=True)
        weights = weights.to(self._device, non_blocking=True)
        if not len(held):
            return Held(torch.zeros_like(weights), weights.new_empty(0))
        with torch.no_grad():
            target = self._cls(images[held]) - self._centre
        distances = 1 - F.cosine_similarity(cls[held].float() - self._centre, target, dim=1)
        return Held(torch.zeros_like(weights).index_put((held,), weights[held] * distances), distances.detach())

    def _cls(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """CLS from the same place as `Terms.cls` of the student: in a ViT after the last block, before the norm."""
        return self._start.intermediates(images, [len(self._start.block_dims) - 1], self._size)[0].cls.float()

    @torch.no_grad()
    def _mean(self) -> Float[Tensor, "d"]:
        """Mean CLS of the start over some images with an anchor, spread evenly; the same in every process."""
        index = torch.arange(len(self._images))
        held = index[self._weights[self._images.source_of(index)] > 0]
        few = held[torch.linspace(0, len(held) - 1, min(_IMAGES, len(held))).long()]
        total, count = torch.zeros(self._start.embed_dim, device=self._device), 0
        for batch in view_batches(Selection("anchor", self._images, few.numpy()), size=self._side, batch_size=64):
            cls = self._cls(batch.images.to(self._device).float() / 255)
            total, count = total + cls.sum(0), count + len(cls)
        return total / count


def is_asked(recipe: Recipe) -> bool:
    """Whether a source of this recipe has an anchor."""
    return any(source.anchor for source in recipe.data.train)
