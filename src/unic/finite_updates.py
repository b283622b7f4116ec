"""Updates of a state that leave it as it is after values that are not finite, and never wait for the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_if_finite(module: nn.Module, update: Callable[[Tensor], None], values: Tensor) -> None:
    """Calls `update(values)`; restores the buffers of `module` unless all values are finite."""
    before = [buffer.clone() for buffer in module.buffers()]
    update(values)
    is_finite = torch.isfinite(values).all()
    for buffer, old in zip(module.buffers(), before, strict=True):
        buffer.copy_(torch.where(is_finite, buffer, old))
