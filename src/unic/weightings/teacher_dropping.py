"""Teacher dropping (UNIC): the teacher with the largest loss of an image always counts, each other one by chance.

UNIC (arXiv 2408.05088), §3.3. For each image the teacher with the largest loss is always kept, and each other one is
dropped with probability p: c = 1 for kept pairs, 0 for others.
A source may name the teachers that own its images (DUNE, arXiv 2503.14405); the other pairs have c = 0.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unic import rng
from unic.errors import InputError
from unic.ranks import summed
from unic.weightings import base

_DROPPING = rng.stream("teacher dropping")


class Weighting(base.Weighting):
    """Teacher dropping.

    Args:
        num_teachers: T.
        seed: seed of the run. Draws are keyed by (seed, step, image, teacher), so the number of ranks does not change
            them.
        level: "image": one draw per image and teacher; "batch": one per teacher on the batch's mean loss (ablation).
        p: probability of dropping a teacher that is not the worst; "auto" = min(T/8, ½), 0 for one teacher.
        normalise: "pair" divides by the number of kept pairs (the reference); "image" averages each image first.
    """

    def __init__(
        self,
        num_teachers: int,
        seed: int,
        *,
        level: Literal["image", "batch"] = "image",
        p: float | Literal["auto"] = "auto",
        normalise: Literal["pair", "image"] = "pair",
    ) -> None:
        super().__init__(num_teachers, seed)
        if p == "auto":
            p = 0.0 if num_teachers == 1 else min(num_teachers / 8, 0.5)
        if isinstance(p, str) or not 0 <= p <= 1:
            raise InputError(f"recipe: 'weighting.p' must be auto or a number in [0, 1] (got {p!r})")
        self.p = float(p)
        self.level, self.normalise = level, normalise
        self.needs_whole_batch = level == "batch"
        self.knows_owners = level == "image"

    def coefficients(self, pairs: base.Pairs) -> Float[Tensor, "t b"]:
        losses = pairs.losses
        teachers = torch.arange(len(losses), device=losses.device)
        if self.level == "batch":
            mean = _mean_over_ranks(losses)
            draws = rng.uniform(self.seed, _DROPPING, pairs.step, teachers)[:, None]
            return keep_worst(mean, draws, self.p).expand_as(losses)
        draws = rng.uniform(self.seed, _DROPPING, pairs.step, pairs.index[None, :], teachers[:, None])
        if pairs.owned is None:
            return keep_worst(losses, draws, self.p)
        return keep_worst(losses.masked_fill(~pairs.owned, -torch.inf), draws, self.p) * pairs.owned

    def sums(
        self, losses: Float[Tensor, "t b"], coefficients: Float[Tensor, "t b"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        if self.normalise == "pair":
            return super().sums(losses, coefficients)
        per_image = (coefficients * losses).sum(0) / coefficients.sum(0)
        return per_image.sum(), torch.full_like(per_image[0], len(per_image)).detach()


def keep_worst(losses: Float[Tensor, "t b"], draws: Float[Tensor, "t b"], p: float) -> Float[Tensor, "t b"]:
    """1 for the teacher with the largest loss of each column (ties: the first) and where `draws >= p`, else 0."""
    worst = losses.argmax(0, keepdim=True)
    return (draws >= p).to(losses.dtype).scatter(0, worst, 1.0)


def _mean_over_ranks(losses: Float[Tensor, "t b"]) -> Float[Tensor, "t 1"]:
    """The mean over the images of all processes, which may have different numbers of images."""
    sums = summed(torch.cat([losses.sum(1), losses.new_full((1,), losses.shape[1])]))
    return (sums[:-1] / sums[-1])[:, None]
