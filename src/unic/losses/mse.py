"""Mean squared error over channels and tokens."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def loss(prediction: Float[Tensor, "b *n d"], target: Float[Tensor, "b *n d"]) -> Float[Tensor, "b"]:
    """Plain regression, the usual baseline of distillation from one teacher."""
    return F.mse_loss(prediction, target, reduction="none").flatten(1).mean(1)
