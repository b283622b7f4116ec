"""AdaLoss: c[t] ∝ 1 / (moving average of teacher t's loss), so that no teacher dominates by the size of its loss.

Hu et al., "Learning Anytime Predictions in Neural Networks via Adaptive Loss Balancing" (arXiv 1708.06832). The
average follows the mean loss ℓ̄_t of each step, a_t ← m·a_t + (1 − m)·ℓ̄_t, and is divided by 1 − mᵏ after k steps, so
that it has no bias towards its start. The mean of c over the teachers is 1; before the first update c = 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError
from unic.weightings import base

_EPS = 1e-12


class Weighting(base.Weighting):
    """AdaLoss.

    Args:
        num_teachers: T.
        seed: unused, nothing is drawn.
        momentum: m.
    """

    total: Tensor
    weight: Tensor

    def __init__(self, num_teachers: int, seed: int, *, momentum: float = 0.99) -> None:
        super().__init__(num_teachers, seed)
        if not 0 <= momentum < 1:
            raise InputError(f"recipe: 'weighting.momentum' must be in [0, 1) (got {momentum})")
        self.momentum = float(momentum)
        self.register_buffer("total", torch.zeros(num_teachers))  # a_t
        self.register_buffer(
            "weight", torch.zeros(num_teachers)
        )  # 1 − mᵏ; teachers may miss steps, so each has its own

    def coefficients(self, pairs: base.Pairs) -> Float[Tensor, "t b"]:
        known = self.weight > 0
        inverse = torch.where(known, self.weight / self.total.clamp(min=_EPS), torch.ones_like(self.total))
        # A teacher that has not been seen yet counts as much as the mean of the others.
        mean = (inverse * known).sum() / known.sum().clamp(min=1)
        return base.of_owners(torch.where(known, inverse / mean.clamp(min=_EPS), torch.ones_like(inverse)), pairs)

    def observe(self, pairs: base.Pairs, coefficients: Float[Tensor, "t b"]) -> Float[Tensor, "t 2"]:
        return base.loss_sums(pairs)

    def update(self, observed: Float[Tensor, "t 2"]) -> None:
        total, count = observed.unbind(1)
        mean, share = total / count.clamp(min=1), (1 - self.momentum) * (count > 0)
        self.total.lerp_(mean, share)
        self.weight.lerp_(torch.ones_like(self.weight), share)
