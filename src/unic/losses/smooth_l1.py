"""Smooth L1 with β = 1: ½d² where |d| < 1, else |d| − ½, averaged over channels and tokens."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def loss(prediction: Float[Tensor, "b *n d"], target: Float[Tensor, "b *n d"]) -> Float[Tensor, "b"]:
    """The half of UNIC's loss that also compares lengths (arXiv 2408.05088, §3)."""
    return F.smooth_l1_loss(prediction, target, reduction="none", beta=1.0).flatten(1).mean(1)
