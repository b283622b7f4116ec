"""How much each teacher counts for each image: teacher dropping, or all alike.

UNIC (arXiv 2408.05088), §3.3. For each image the teacher with the largest loss is always kept, and each other one is
dropped with probability p. Loss = Σ c·ℓ / Σ c over all pairs of teacher and image of the global batch, c detached.
A source may name the teachers that own its images (DUNE, arXiv 2503.14405); the other pairs have c = 0.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unic import lookup, rng
from unic.errors import InputError, nearest
from unic.recipe.sections import Component

_DROPPING = rng.stream("teacher dropping")


@runtime_checkable
class Weighting(Protocol):
    """The weighting of losses, as `unic.training.step` uses it."""

    needs_whole_batch: bool

    def coefficients(
        self, losses: Float[Tensor, "t b"], step: int, index: Int[Tensor, "b"], owned: Bool[Tensor, "t b"] | None = None
    ) -> Float[Tensor, "t b"]:
        """Detached weights, one per teacher and image; 0 where the image is not `owned` by the teacher."""
        ...

    def sums(
        self, losses: Float[Tensor, "t b"], coefficients: Float[Tensor, "t b"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Numerator (with gradient) and denominator of the loss; both add up over micro-batches and ranks."""
        ...


class Uniform:
    """Every teacher counts for every image: the mean of all pairs."""

    needs_whole_batch = False

    def __init__(self, num_teachers: int, seed: int) -> None:
        pass

    def coefficients(self, losses: Tensor, step: int, index: Tensor, owned: Tensor | None = None) -> Tensor:
        return torch.ones_like(losses) if owned is None else owned.to(losses.dtype)

    def sums(self, losses: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        return pair_sums(losses, coefficients)


class TeacherDropping:
    """Teacher dropping.

    Args:
        num_teachers: T.
        seed: of the run; draws are keyed by (seed, step, image, teacher), so the number of ranks does not change them.
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
        for name, value, valid in (("level", level, ("image", "batch")), ("normalise", normalise, ("pair", "image"))):
            if value not in valid:
                raise InputError(f"recipe: 'weighting.{name}' must be {' or '.join(valid)} (got '{value}')")
        if p == "auto":
            p = 0.0 if num_teachers == 1 else min(num_teachers / 8, 0.5)
        if isinstance(p, str) or not 0 <= p <= 1:
            raise InputError(f"recipe: 'weighting.p' must be auto or a number in [0, 1] (got {p!r})")
        self.p = float(p)
        self.seed, self.level, self.normalise = seed, level, normalise
        self.needs_whole_batch = level == "batch"

    def coefficients(self, losses: Tensor, step: int, index: Tensor, owned: Tensor | None = None) -> Tensor:
        losses = losses.detach()
        teachers = torch.arange(len(losses), device=losses.device)
        if self.level == "batch":
            mean = _mean_over_ranks(losses)
            draws = rng.uniform(self.seed, _DROPPING, step, teachers)[:, None]
            return keep_worst(mean, draws, self.p).expand_as(losses)
        draws = rng.uniform(self.seed, _DROPPING, step, index[None, :], teachers[:, None])
        if owned is None:
            return keep_worst(losses, draws, self.p)
        return keep_worst(losses.masked_fill(~owned, -torch.inf), draws, self.p) * owned

    def sums(self, losses: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        if self.normalise == "pair":
            return pair_sums(losses, coefficients)
        per_image = (coefficients * losses).sum(0) / coefficients.sum(0)
        return per_image.sum(), torch.full_like(per_image[0], len(per_image)).detach()


def keep_worst(losses: Float[Tensor, "t b"], draws: Float[Tensor, "t b"], p: float) -> Float[Tensor, "t b"]:
    """1 for the teacher with the largest loss of each column (ties: the first) and where `draws >= p`, else 0."""
    worst = losses.argmax(0, keepdim=True)
    return (draws >= p).to(losses.dtype).scatter(0, worst, 1.0)


def pair_sums(losses: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    return (coefficients * losses).sum(), coefficients.sum()


def _mean_over_ranks(losses: Float[Tensor, "t b"]) -> Float[Tensor, "t 1"]:
    """The mean over the images of all processes, which may have different numbers of images."""
    sums = torch.cat([losses.sum(1), losses.new_tensor([losses.shape[1]])])
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(sums)
    return (sums[:-1] / sums[-1])[:, None]


KINDS: dict[str, Any] = {"teacher_dropping": TeacherDropping, "uniform": Uniform}


def build_weighting(setting: Component, num_teachers: int, seed: int) -> Weighting:
    if setting.type not in KINDS:
        raise InputError(f"recipe: unknown weighting.type '{setting.type}'{nearest(setting.type, KINDS)}")
    kind = KINDS[setting.type]
    lookup.check_options(kind, setting.options, f"recipe: weighting '{setting.type}'")
    return kind(num_teachers, seed, **setting.options)
