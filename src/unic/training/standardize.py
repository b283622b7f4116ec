"""Teacher standardisation: y → (y − μ) / (max(σ, f·mean σ) + 1e-6) per channel, μ and σ moving averages over batches.

UNIC (arXiv 2408.05088), §3.1. The average starts at μ = 0, σ = 1, and its momentum follows a cosine over training. A
batch is normalised with the statistics from *before* its own update: the first batch with (0, 1), which its update
replaces, because the momentum starts at 1. σ averages the unbiased standard deviation of a batch, not its variance.
The floor f is 0 in the reference. A channel that is constant in one batch (some of ReLU6 teachers are) has σ = 0, and
its next different value would become a target of millions.
Ranks exchange moments (count, mean, M2), never features: 4·(2D + 1) bytes per teacher, token type and step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from unic import lookup
from unic.errors import InputError, nearest
from unic.recipe.sections import Component
from unic.tokens import Tokens, without_patches

EPS = 1e-6


@dataclass
class Moments:
    """Count, mean and sum of squared deviations per channel of a set of vectors; two sets merge without their data."""

    count: Float[Tensor, ""]
    mean: Float[Tensor, "d"]
    m2: Float[Tensor, "d"]

    @classmethod
    def of(cls, x: Float[Tensor, "*n d"]) -> Moments:
        x = x.detach().flatten(0, -2).float()
        variance, mean = torch.var_mean(x, dim=0, correction=0)
        count = torch.full((), float(x.shape[0]), device=x.device)
        return cls(count, mean, variance * count)

    def merge(self, other: Moments) -> Moments:
        """Chan, Golub and LeVeque (1983): exact up to rounding, and safe for means far from 0."""
        count = self.count + other.count
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        m2 = self.m2 + other.m2 + delta.square() * (self.count * other.count / count)
        return Moments(count, mean, m2)

    def std(self) -> Float[Tensor, "d"]:
        return (self.m2 / (self.count - 1).clamp(min=1)).sqrt()


def merge_ranks(moments: list[Moments]) -> list[Moments]:
    """The moments over all processes: one gather of a flat vector, then the same merge in rank order everywhere."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return moments
    flat = torch.cat([torch.cat([m.count.view(1), m.mean, m.m2]) for m in moments])
    gathered = [torch.empty_like(flat) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, flat)
    sizes = [1 + 2 * len(m.mean) for m in moments]
    merged: list[Moments] = []
    for parts in zip(*(rank.split(sizes) for rank in gathered), strict=True):
        ranks = [Moments(part[0], *part[1:].chunk(2)) for part in parts]
        total = ranks[0]
        for rank in ranks[1:]:
            total = total.merge(rank)
        merged.append(total)
    return merged


def scale_of(std: Float[Tensor, "d"], floor: float) -> Float[Tensor, "d"]:
    """What standardisation divides by: σ, at least `floor` times the mean σ of all channels, plus 1e-6."""
    return (torch.maximum(std, floor * std.mean()) if floor else std) + EPS


class Statistics(nn.Module):
    """μ and σ of one teacher and token type; CLS and patches have their own."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def normalise(self, x: Float[Tensor, "*n d"], floor: float) -> Float[Tensor, "*n d"]:
        return (x.float() - self.mean) / scale_of(self.std, floor)

    def update(self, batch: Moments, momentum: float) -> None:
        # A teacher that overflowed once must not poison the average: such a channel keeps its old value.
        finite = torch.isfinite(batch.mean) & torch.isfinite(batch.m2)
        self.mean.copy_(torch.where(finite, self.mean.lerp(batch.mean, momentum), self.mean))
        self.std.copy_(torch.where(finite, self.std.lerp(batch.std(), momentum), self.std))


class EmaStandardizer(nn.Module):
    """Standardises the tokens of all teachers and keeps their statistics.

    One optimiser window is one batch: `forward` collects moments over micro-batches, `update` merges them over the
    ranks and moves the averages once.

    Args:
        dims: widths of CLS and patches per teacher; a width of 0 leaves the patches out.
        momentum: first and last value of the cosine schedule.
        floor: least σ of a channel, as a share of the mean σ of the teacher's channels; 0: none (the reference).

    Attributes:
        needs_first_batch: the first batch only sets the statistics; its targets are not standardised yet.
    """

    needs_first_batch = True

    def __init__(
        self,
        dims: Mapping[str, tuple[int, int]],
        *,
        momentum: Sequence[float] = (1.0, 0.001),
        floor: float = 0.0,
    ) -> None:
        super().__init__()
        if not (len(momentum) == 2 and all(0 <= value <= 1 for value in momentum)):
            raise InputError(f"recipe: 'standardize.momentum' must be two numbers in [0, 1] (got {list(momentum)})")
        if not (isinstance(floor, (int, float)) and 0 <= floor <= 1):
            raise InputError(f"recipe: 'standardize.floor' must be a number in [0, 1] (got {floor})")
        self.first, self.last = momentum
        self.floor = float(floor)
        self.teachers = nn.ModuleDict(
            {
                name: nn.ModuleDict({"cls": Statistics(cls), "patch": Statistics(patch)})
                for name, (cls, patch) in dims.items()
            }
        )
        self._window: dict[tuple[str, str], Moments] = {}

    def forward(self, targets: Mapping[str, Tokens]) -> dict[str, Tokens]:
        """Standardised targets, `{teacher: Tokens}`; remembers the moments of what it saw while training."""
        out = {}
        for name, tokens in targets.items():
            cls, patch = self._of(name, "cls"), self._of(name, "patch")
            if self.training:
                self._remember((name, "cls"), tokens.cls)
            if not len(patch.mean):  # teachers.cache.tokens: cls; live teachers give patches all the same
                out[name] = without_patches(cls.normalise(tokens.cls, self.floor))
                continue
            if self.training:
                self._remember((name, "patch"), tokens.patches)
            normalised = cls.normalise(tokens.cls, self.floor), patch.normalise(tokens.patches, self.floor)
            out[name] = Tokens(*normalised, tokens.grid)
        return out

    def update(self, progress: float) -> None:
        """Ends an optimiser window. `progress` runs from 0 at the first step to 1 at the end of training."""
        keys = list(self._window)
        for (name, kind), batch in zip(keys, merge_ranks([self._window[key] for key in keys]), strict=True):
            self._of(name, kind).update(batch, self.momentum(progress))
        self._window = {}

    def momentum(self, progress: float) -> float:
        return self.last + (self.first - self.last) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    def values(self) -> dict[str, float]:
        """For the log: `floored/T`, the number of channels of CLS and patches at the floor; reads the device."""
        if not self.floor:
            return {}
        both = {name: (self._of(name, "cls"), self._of(name, "patch")) for name in self.teachers}
        return {
            f"floored/{name}": float(sum(int((s.std < self.floor * s.std.mean()).sum()) for s in statistics))
            for name, statistics in both.items()
        }

    def _of(self, name: str, kind: str) -> Statistics:
        both = self.teachers[name]
        assert isinstance(both, nn.ModuleDict)
        statistics = both[kind]
        assert isinstance(statistics, Statistics)
        return statistics

    def _remember(self, key: tuple[str, str], x: Tensor) -> None:
        batch = Moments.of(x)
        self._window[key] = self._window[key].merge(batch) if key in self._window else batch


class NoStandardizer(nn.Module):
    """Leaves targets as they are: an ablation."""

    needs_first_batch = False

    def __init__(self, dims: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()

    def forward(self, targets: Mapping[str, Tokens]) -> dict[str, Tokens]:
        return {name: tokens.float() for name, tokens in targets.items()}

    def update(self, progress: float) -> None:
        """Does nothing: no statistics are kept."""

    def values(self) -> dict[str, float]:
        return {}


KINDS: dict[str, Any] = {"ema": EmaStandardizer, "none": NoStandardizer}


def build_standardizer(setting: Component, dims: Mapping[str, tuple[int, int]]) -> EmaStandardizer | NoStandardizer:
    if setting.type not in KINDS:
        raise InputError(f"recipe: unknown standardize.type '{setting.type}'{nearest(setting.type, KINDS)}")
    kind = KINDS[setting.type]
    lookup.check_options(kind, setting.options, f"recipe: standardize '{setting.type}'")
    return kind(dims, **setting.options)
