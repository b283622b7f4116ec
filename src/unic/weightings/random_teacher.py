"""One teacher for each image, drawn at random: c = 1 for the drawn teacher, 0 for the others.

Fukuda et al., "Efficient Knowledge Distillation from an Ensemble of Teachers" (Interspeech 2017), draw one teacher for
each batch. Here each image draws its own, with equal probability, from the teachers that own it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unic import rng
from unic.weightings import base

_TEACHER = rng.stream("random teacher")


class Weighting(base.Weighting):
    """Draws are keyed by (seed, step, image, teacher); the teacher with the largest one is taken."""

    def coefficients(self, pairs: base.Pairs) -> Float[Tensor, "t b"]:
        losses = pairs.losses
        teachers = torch.arange(len(losses), device=losses.device)
        draws = rng.uniform(self.seed, _TEACHER, pairs.step, pairs.index[None, :], teachers[:, None])
        if pairs.owned is not None:
            draws = draws.masked_fill(~pairs.owned, -1.0)
        chosen = torch.zeros_like(losses).scatter(0, draws.argmax(0, keepdim=True), 1.0)
        return chosen if pairs.owned is None else chosen * pairs.owned
