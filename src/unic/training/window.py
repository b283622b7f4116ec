"""The loss of a batch, and what one optimiser step adds up of it over its micro-batches and ranks."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from unic.runs.metric_names import DRIFT, LOSS, cosine_of, kept_of, loss_of
from unic.tokens import Tokens
from unic.training.anchor import Held
from unic.training.distiller import Terms
from unic.weightings import Pairs

_COLUMNS = 4  # sums for each teacher: its losses, its weights, its cosines of CLS and of patches


class BatchLoss(NamedTuple):
    """The loss of a batch, `numerator` / `denominator`, and its parts.

    Attributes:
        outputs: the teachers' tokens, by name.
        targets: the same tokens, standardised.
        terms: ℓ[t, i] of each teacher and image, with gradient.
        pairs: the input of the weighting.
        weights: c[t, i], how much each of them counts.
        held: λ·a_i of images with an anchor, if the recipe has one.
        numerator: Σ w·c·ℓ, with gradient. Numerators and denominators add up over micro-batches and ranks.
        denominator: Σ w·c.
    """

    outputs: dict[str, Tokens]
    targets: dict[str, Tokens]
    terms: Terms
    pairs: Pairs
    weights: Float[Tensor, "t b"]
    held: Held | None
    numerator: Float[Tensor, ""]
    denominator: Float[Tensor, ""]


class Window:
    """Sums of one optimiser step over its micro-batches and ranks; they stay on the device until a log step."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._sums: Tensor | None = None
        self._observed: torch.Size | None = None

    def add(self, loss: BatchLoss, observed: Float[Tensor, "..."] | None = None) -> None:
        """Adds a micro-batch.

        Args:
            loss: loss of the micro-batch, after its backward pass.
            observed: the result of the weighting's `observe`; it has the same shape in each micro-batch.
        """
        losses, cosines = loss.terms.losses, loss.terms.cosines
        count = losses.shape[1]
        columns = [losses.detach().sum(1), loss.weights.sum(1), cosines[:, 0] * count, cosines[:, 1] * count]
        flat = torch.cat(
            [
                torch.stack([loss.numerator.detach(), loss.denominator, torch.full_like(loss.denominator, count)]),
                torch.stack(_sum_and_count(loss.held, loss.denominator)),
                torch.stack(columns).flatten(),
                *([] if observed is None else [observed.flatten()]),
            ]
        )
        self._observed = None if observed is None else observed.shape
        self._sums = flat if self._sums is None else self._sums + flat

    def reduce(self) -> None:
        assert self._sums is not None
        self._sums = self._accelerator.reduce(self._sums, "sum")

    @property
    def denominator(self) -> Tensor:
        assert self._sums is not None
        return self._sums[1]

    @property
    def observed(self) -> Float[Tensor, "..."] | None:
        """Sum of what the weighting has observed; None if nothing."""
        assert self._sums is not None
        return None if self._observed is None else self._sums[-self._observed.numel() :].view(self._observed)

    def values(self, teachers: list[str]) -> dict[str, float]:
        """The metrics of this step as plain numbers. This is the only method that reads the device."""
        assert self._sums is not None
        numerator, denominator, count, drift, held, *rest = self._sums.tolist()
        columns = [rest[i : i + len(teachers)] for i in range(0, _COLUMNS * len(teachers), len(teachers))]
        values = {LOSS: numerator / denominator if denominator else math.nan}  # a weighting may leave out every pair
        if held:
            values[DRIFT] = drift / held
        for name, loss, kept, cls, patch in zip(teachers, *columns, strict=True):
            values[loss_of(name)] = loss / count
            # NaN stands for tokens that the teacher is not matched by.
            if not math.isnan(cls):
                values[cosine_of(name, "cls")] = cls / count
            values[kept_of(name)] = kept / count
            if not math.isnan(patch):
                values[cosine_of(name, "patch")] = patch / count
        return values


def _sum_and_count(held: Held | None, like: Tensor) -> list[Tensor]:
    if held is None:
        return [torch.zeros_like(like), torch.zeros_like(like)]
    return [held.distances.sum(), torch.full_like(like, len(held.distances))]
