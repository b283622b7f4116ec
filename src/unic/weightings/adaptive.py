"""Adaptive weights of each image: c[t, i] = T · softmax_t(θ_t · h_i), from the student's own CLS of the image.

Liu, Zhang and Wang, "Adaptive Multi-Teacher Multi-level Knowledge Distillation" (arXiv 2103.04062): each teacher
has a latent factor θ_t, and its product with the student's representation of an image gives the teacher's importance
for this image. h_i is the CLS, brought to mean 0 and length 1, with a 1 appended for a bias.

There the importance mixes soft labels. Here teachers have spaces of their own, so it weighs their losses: θ follows the
gradient of the mean over the images of Σ_t w_t·ℓ_t + τ·Σ_t w_t·log w_t, with w = softmax. The second term is ours.
Without it all weight would go to the teacher with the smallest loss; with it the optimum is w_t ∝ e^(−ℓ_t / τ).
θ starts at 0, where all teachers count alike.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError
from unic.weightings import base

_EPS = 1e-12


class Weighting(base.Weighting):
    """Adaptive weights of each image.

    Args:
        num_teachers: T.
        seed: unused, nothing is drawn.
        temperature: τ; the larger, the closer to equal weights.
        rate: step size of the gradient descent on θ.
    """

    factors: Tensor

    def __init__(self, num_teachers: int, seed: int, *, temperature: float = 1.0, rate: float = 0.1) -> None:
        super().__init__(num_teachers, seed)
        for name, value in (("temperature", temperature), ("rate", rate)):
            if not 0 < value < math.inf:
                raise InputError(f"recipe: 'weighting.{name}' must be finite and above 0 (got {value})")
        self.temperature, self.rate = float(temperature), float(rate)

    def prepare(self, width: int) -> None:
        self.register_buffer("factors", torch.zeros(self.num_teachers, width + 1))  # θ

    def coefficients(self, pairs: base.Pairs) -> Float[Tensor, "t b"]:
        scores = self.factors @ _representation(pairs).T
        if pairs.owned is None:
            return self.num_teachers * scores.softmax(0)
        # An image that nobody owns has no weights.
        shares = scores.masked_fill(~pairs.owned, -torch.inf).softmax(0).nan_to_num(0.0)
        return pairs.owned.sum(0) * shares

    def observe(self, pairs: base.Pairs, coefficients: Float[Tensor, "t b"]) -> Float[Tensor, "n"]:
        """The gradient of θ, and the number of images."""
        shares = coefficients / coefficients.sum(0).clamp(min=_EPS)
        values = pairs.losses + self.temperature * shares.clamp(min=_EPS).log()
        slopes = shares * (values - (shares * values).sum(0))
        gradient = slopes @ _representation(pairs)
        return torch.cat([gradient.flatten(), gradient.new_full((1,), pairs.losses.shape[1])])

    def update(self, observed: Float[Tensor, "n"]) -> None:
        gradient, count = observed[:-1].view_as(self.factors), observed[-1]
        self.factors.sub_(self.rate * gradient / count)


def _representation(pairs: base.Pairs) -> Float[Tensor, "b n"]:
    assert pairs.cls is not None
    cls = pairs.cls.float()
    unit = F.normalize(cls - cls.mean(1, keepdim=True), dim=1)
    return torch.cat([unit, unit.new_ones(len(unit), 1)], dim=1)
