"""Moments of sets of vectors, which merge over micro-batches and processes without the vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from unic.ranks import has_ranks


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
    if not has_ranks():
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
