"""Decay towards the start instead of zero, `train.pull`: w ← w − η·λ·(w − w₀) before each update, η the rate of w.

L2-SP (Li, Grandvalet and Davoine, ICML 2018, arXiv 1802.01483), decoupled from the gradient as AdamW's decay is
(Loshchilov and Hutter, arXiv 1711.05101). Unlike AdamW's decay it applies to biases and norms as well: zero is a
sensible prior for matrices only, the start is one for all parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def pull_towards(
    start: Mapping[str, Tensor], student: nn.Module, optimizer: torch.optim.Optimizer, pull: float
) -> None:
    """Makes every step of the optimiser begin with the decay. A step skipped as not finite decays nothing.

    Args:
        start: w₀, whole tensors by name.
        student: the model that is trained; its parameters may be shards (DTensor).
        optimizer: over the student's parameters and others; `found_inf` says that a step is skipped.
        pull: λ.
    """
    pairs = {
        parameter: (_own(parameter), _own(_like(start[name], parameter)))
        for name, parameter in student.named_parameters()
        if parameter.requires_grad
    }

    @torch.no_grad()
    def decay(optimizer: Any, *_: object) -> None:
        is_made = 1 - optimizer.found_inf
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter in pairs:
                    now, before = pairs[parameter]
                    now.lerp_(before, is_made * (group["lr"] * pull))

    optimizer.register_step_pre_hook(decay)


def _like(start: Tensor, parameter: Tensor) -> Tensor:
    if isinstance(parameter, DTensor):
        return distribute_tensor(start.to(parameter.device), parameter.device_mesh, parameter.placements)
    return start.to(parameter.device)


def _own(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds, sharing its memory."""
    return tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor.detach()
