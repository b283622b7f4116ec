"""Moving averages (UNIC): y → (y − μ) / (max(σ, f·mean σ) + 1e-6) per channel.

UNIC (arXiv 2408.05088), §3.1. μ and σ are moving averages over batches. They start at μ = 0, σ = 1, and their momentum
follows a cosine over training. A batch is normalised with the statistics from *before* its own update: the first batch
with (0, 1), which its update replaces, because the momentum starts at 1. σ averages the unbiased standard deviation of
a batch, not its variance.
The floor f is 0 in the reference. A channel that is constant in one batch (some of ReLU6 teachers are) has σ = 0, and
its next different value would become a target of millions.
Ranks exchange moments (count, mean, M2), never features: 4·(2D + 1) bytes per teacher, token type and step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unic.errors import InputError
from unic.kinds import Kind
from unic.standardizers import base
from unic.standardizers._by_teacher import ByTeacher
from unic.standardizers._moments import Moments, merge_ranks

EPS = 1e-6


class Statistics(nn.Module):
    """μ and σ of one teacher and token type; CLS and patches have their own."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def scale(self, floor: float) -> Float[Tensor, "d"]:
        """Divisor of the standardisation: σ, at least `floor` times the mean σ of all channels, plus 1e-6."""
        return (torch.maximum(self.std, floor * self.std.mean()) if floor else self.std) + EPS

    def normalise(self, x: Float[Tensor, "*n d"], floor: float) -> Float[Tensor, "*n d"]:
        return (x.float() - self.mean) / self.scale(floor)

    def update(self, batch: Moments, momentum: float) -> None:
        # A teacher that overflowed once must not poison the average: such a channel keeps its old value.
        finite = torch.isfinite(batch.mean) & torch.isfinite(batch.m2)
        self.mean.copy_(torch.where(finite, self.mean.lerp(batch.mean, momentum), self.mean))
        self.std.copy_(torch.where(finite, self.std.lerp(batch.std(), momentum), self.std))


class Standardizer(base.Standardizer):
    """Standardises the tokens of all teachers and keeps their statistics.

    One optimiser window is one batch: `forward` collects moments over micro-batches, `update` merges them over the
    ranks and moves the averages once.

    Args:
        dims: widths of CLS and patches per teacher; a width of 0 leaves either out.
        momentum: first and last value of the cosine schedule.
        floor: least σ of a channel, as a share of the mean σ of the teacher's channels; 0: none (the reference).
    """

    is_invertible = True
    first_steps = 1

    def __init__(self, dims: base.Dims, *, momentum: Sequence[float] = (1.0, 0.001), floor: float = 0.0) -> None:
        super().__init__(dims)
        if not (len(momentum) == 2 and all(0 <= value <= 1 for value in momentum)):
            raise InputError(f"recipe: 'standardize.momentum' must be two numbers in [0, 1] (got {list(momentum)})")
        if not 0 <= floor <= 1:
            raise InputError(f"recipe: 'standardize.floor' must be in [0, 1] (got {floor})")
        self.first, self.last = momentum
        self.floor = float(floor)
        self.teachers = ByTeacher(dims, Statistics)
        self._window: dict[tuple[str, Kind], Moments] = {}

    def standardised(self, teacher: str, kind: Kind, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Standardised tokens; remembers their moments while training."""
        if self.training:
            batch, key = Moments.of(x), (teacher, kind)
            self._window[key] = self._window[key].merge(batch) if key in self._window else batch
        return self.teachers.of(teacher, kind).normalise(x, self.floor)

    def update(self, progress: float) -> None:
        keys = list(self._window)
        for (name, kind), batch in zip(keys, merge_ranks([self._window[key] for key in keys]), strict=True):
            self.teachers.of(name, kind).update(batch, self.momentum(progress))
        self._window = {}

    def momentum(self, progress: float) -> float:
        return self.last + (self.first - self.last) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    def inverse(self, teacher: str, kind: Kind) -> base.Inverse:
        """y = scale · z + μ."""
        statistics = self.teachers.of(teacher, kind)
        scale = statistics.scale(self.floor)
        return base.Inverse(scale, statistics.mean, scale)

    def values(self) -> dict[str, float]:
        """For the log: `floored/T`, the number of channels of CLS and patches at the floor; reads the device."""
        if not self.floor:
            return {}
        both = {name: (self.teachers.of(name, "cls"), self.teachers.of(name, "patch")) for name in self.teachers}
        return {
            f"floored/{name}": float(sum(int((s.std < self.floor * s.std.mean()).sum()) for s in statistics))
            for name, statistics in both.items()
        }
