"""GradNorm: weights that make the gradients of all teachers equally large, larger for teachers that learn slowly.

Chen et al. (arXiv 1711.02257). With G_t the norm of teacher t's weighted gradient, Ḡ the mean of these norms, and
r_t = (ℓ̄_t / ℓ̄_t(0)) / mean_s (ℓ̄_s / ℓ̄_s(0)) the inverse rate of its learning, the weights follow the gradient of
Σ_t |G_t − Ḡ·r_t^α|, in which Ḡ·r_t^α is a constant: w_t ← w_t − η·sign(G_t − Ḡ·r_t^α)·(G_t / w_t) / Ḡ. Then they are
scaled to Σ w_t = T. c[t, i] = w_t. ℓ̄_t(0) is the mean loss in the first step that learns.

Two things differ from the paper. The norm is that of the gradient at the student's last tokens, the root of its mean
square over the images, because it needs no backward pass of its own (Sener and Koltun, arXiv 1810.04650, bound the
gradient of shared weights in this way). The division by Ḡ makes η independent of the scale of the losses.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError
from unic.weightings import base

_LEAST = 1e-3  # weight of a teacher, so that its gradient can still be measured
_EPS = 1e-20


class Weighting(base.Weighting):
    """GradNorm.

    Args:
        num_teachers: T.
        seed: unused, nothing is drawn.
        alpha: α, how strongly slow teachers are pulled up; 0: all gradients equal.
        rate: η.
    """

    knows_owners = False
    needs_gradients = True
    weights: Tensor
    first: Tensor

    def __init__(self, num_teachers: int, seed: int, *, alpha: float = 1.5, rate: float = 0.01) -> None:
        super().__init__(num_teachers, seed)
        if not 0 <= alpha < math.inf:
            raise InputError(f"recipe: 'weighting.alpha' must be finite and at least 0 (got {alpha})")
        if not 0 < rate <= 1:
            raise InputError(f"recipe: 'weighting.rate' must be in (0, 1] (got {rate})")
        self.alpha, self.rate = float(alpha), float(rate)
        self.register_buffer("weights", torch.ones(num_teachers))
        self.register_buffer("first", torch.zeros(num_teachers))  # ℓ̄(0); 0: not known yet

    def coefficients(self, pairs: base.Pairs) -> Float[Tensor, "t b"]:
        return base.of_owners(self.weights.clone(), pairs)

    def observe(self, pairs: base.Pairs, coefficients: Float[Tensor, "t b"]) -> Float[Tensor, "t 3"]:
        assert pairs.gradients is not None
        return torch.cat([base.loss_sums(pairs), pairs.gradients[:, None]], dim=1)

    def update(self, observed: Float[Tensor, "t 3"]) -> None:
        total, count, squares = observed.unbind(1)
        losses, norms = total / count, (squares / count).sqrt()
        self.first.copy_(torch.where(self.first == 0, losses, self.first))
        ratios = losses / self.first.clamp(min=_EPS)
        mean = norms.mean().clamp(min=_EPS)
        wanted = mean * (ratios / ratios.mean().clamp(min=_EPS)).pow(self.alpha)
        moved = self.weights - self.rate * torch.sign(norms - wanted) * norms / self.weights / mean
        moved = moved.clamp(min=_LEAST)
        self.weights.copy_(moved * self.num_teachers / moved.sum())
