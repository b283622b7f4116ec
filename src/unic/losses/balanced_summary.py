"""Squared angle between CLS of student and teacher, in units of the teacher's own spread of angles.

After the balanced summary loss of C-RADIOv4 (Ranzinger et al., arXiv 2601.17237), which divides the CLS term of each
teacher by its angular spread: ℓ = θ(z, y)² / σ², with θ the angle and σ² the mean of θ(y, μ)² over images, μ the mean
direction of the teacher's CLS. A teacher whose CLS fill a narrow cone then counts as much as one whose CLS point
everywhere. CLS alone is compared.

The moving averages of μ and σ² over the batches are ours, each with the same `momentum`; before the first step
σ = π/2. A standardiser that takes the mean away from the targets (`ema`, `phi_s`) leaves a σ near π/2 to every teacher.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError
from unic.kinds import Widths
from unic.losses import base

_TINY = 1e-20  # below the square root, whose gradient at 0 is infinite
_LEAST = 1e-6  # of σ²


class Loss(base.Loss):
    """Squared angle in units of the spread.

    Args:
        dims: widths of the teacher's CLS and patches.
        momentum: share of a new batch in the averages.
    """

    kinds = ("cls",)
    mean: Tensor
    sums: Tensor

    def __init__(self, dims: Widths, *, momentum: float = 0.01) -> None:
        super().__init__(dims)
        if not 0 < momentum <= 1:
            raise InputError(f"recipe: 'loss.balanced_summary.momentum' must be in (0, 1] (got {momentum})")
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(dims[0]))  # of unit vectors; its direction is μ
        self.register_buffer("sums", torch.zeros(2))  # of θ² and of 1, averaged alike: their ratio is σ² from the start

    def forward(self, prediction: Float[Tensor, "b d"], target: Float[Tensor, "b d"]) -> Float[Tensor, "b"]:
        total, weight = self.sums.unbind()
        spread = torch.where(weight > 0, total / weight.clamp(min=_TINY), (math.pi / 2) ** 2)
        return squared_angle(prediction, target) / spread.clamp(min=_LEAST)

    def update(self, cls: Float[Tensor, "b d"]) -> None:
        self.mean.lerp_(F.normalize(cls, dim=-1).mean(0), self.momentum)
        new = squared_angle(cls, self.mean.expand_as(cls)).mean()
        self.sums.lerp_(torch.stack([new, torch.ones_like(new)]), self.momentum)


def squared_angle(a: Float[Tensor, "b d"], b: Float[Tensor, "b d"]) -> Float[Tensor, "b"]:
    """θ² of pairs of vectors, from θ = 2·atan2(‖u − v‖, ‖u + v‖) of unit vectors: exact also for small angles."""
    u, v = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    apart, along = ((x.square().sum(-1) + _TINY).sqrt() for x in (u - v, u + v))
    return (2 * torch.atan2(apart, along)).square()
