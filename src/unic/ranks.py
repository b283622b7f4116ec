"""The processes that train together, and sums over them."""

from __future__ import annotations

import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def has_ranks() -> bool:
    """Whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def summed(sums: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Sums over all processes, each of which must call this with the same shapes in the same order.

    Args:
        sums: those of this process; they become those of all.
    """
    if has_ranks():
        dist.all_reduce(sums)
    return sums
