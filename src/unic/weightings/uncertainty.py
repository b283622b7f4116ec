"""Uncertainty weighting: c[t] = e^(−s[t]), where the learnt s[t] is the log of teacher t's noise.

Kendall, Gal and Cipolla (arXiv 1705.07115): minimise Σ_t e^(−s_t)·ℓ̄_t + s_t, with ℓ̄_t the teacher's mean loss in
the batch. Each step follows the gradient of s, s_t ← s_t − η·(1 − e^(−s_t)·ℓ̄_t), by at most 1. So s_t tends to log ℓ̄_t
and each teacher's part of the loss to 1. s starts at 0. The weights are absolute: the denominator of the loss is the
number of pairs, not Σ c; with weights of the recipe it is Σ w over the pairs.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError
from unic.weightings import base


class Weighting(base.Weighting):
    """Uncertainty weighting.

    Args:
        num_teachers: T.
        seed: unused, nothing is drawn.
        rate: η.
    """

    log_noise: Tensor

    def __init__(self, num_teachers: int, seed: int, *, rate: float = 0.01) -> None:
        super().__init__(num_teachers, seed)
        if not 0 < rate <= 1:
            raise InputError(f"recipe: 'weighting.rate' must be in (0, 1] (got {rate})")
        self.rate = float(rate)
        self.register_buffer("log_noise", torch.zeros(num_teachers))

    def coefficients(self, pairs: base.Pairs) -> Float[Tensor, "t b"]:
        return base.of_owners((-self.log_noise).exp(), pairs)

    def sums(
        self, losses: Float[Tensor, "t b"], coefficients: Float[Tensor, "t b"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        counted = (coefficients != 0).to(losses.dtype)
        if self.teacher_weights is not None:
            counted = counted * self.teacher_weights[:, None]
        return (coefficients * losses).sum(), counted.sum()

    def observe(self, pairs: base.Pairs, coefficients: Float[Tensor, "t b"]) -> Float[Tensor, "t 2"]:
        return base.loss_sums(pairs)

    def update(self, observed: Float[Tensor, "t 2"]) -> None:
        total, count = observed.unbind(1)
        gradient = 1 - (-self.log_noise).exp() * total / count.clamp(min=1)
        step = (self.rate * gradient).clamp(-1, 1)
        self.log_noise.sub_(torch.where(count > 0, step, torch.zeros_like(step)))
