"""Cosine distance: 1 − cos(z, y) per token, averaged over an image's tokens."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def loss(prediction: Float[Tensor, "b *n d"], target: Float[Tensor, "b *n d"]) -> Float[Tensor, "b"]:
    """The half of UNIC's loss that compares directions (arXiv 2408.05088, §3)."""
    distance = 1 - F.cosine_similarity(prediction, target, dim=-1)
    return distance.flatten(1).mean(1) if distance.ndim > 1 else distance
