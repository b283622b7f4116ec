"""AdamW with the paper's groups and schedule, and a step that normalises, clips and skips on the device.

Gradients are those of Σ c·ℓ, not yet divided by Σ c, which is known only after the last micro-batch and rank. The fused
AdamW divides them by `grad_scale` and changes nothing if `found_inf` is 1. A GradScaler would give it the same two
tensors. So division, clipping and skipping a non-finite step read nothing back from the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from unic.recipe.sections import TrainSection


def build_optimizer(
    model: nn.Module, setting: TrainSection, student: Mapping[nn.Parameter, float] | None = None
) -> torch.optim.AdamW:
    """AdamW over all trainable parameters; biases and other 1-d parameters have no weight decay.

    Args:
        model: all that is trained.
        setting: `train` of the recipe, for rate and decay.
        student: factor on the rate for each trainable parameter of the student (`student_rates`); all other parameters
            have factor 1. With `setting.pull` the student's parameters have no weight decay.
    """
    student = student or {}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    pulled = student if setting.pull else {}
    groups = []
    # Moments are saved by a parameter's index in the groups. One rate for all gives the groups of earlier versions.
    for scale in dict.fromkeys(student.get(parameter, 1.0) for parameter in trainable):
        alike = [parameter for parameter in trainable if student.get(parameter, 1.0) == scale]
        decayed = [parameter for parameter in alike if parameter.ndim > 1 and parameter not in pulled]
        plain = [parameter for parameter in alike if parameter.ndim <= 1 or parameter in pulled]
        groups.append({"params": decayed, "weight_decay": setting.weight_decay, "lr_scale": scale})
        groups.append({"params": plain, "weight_decay": 0.0, "lr_scale": scale})
    return torch.optim.AdamW(groups, lr=setting.lr, betas=setting.betas, eps=1e-8, fused=True)


def learning_rate(step: int, total_steps: int, warmup_steps: int, peak: float, last: float) -> float:
    """Rate of a step: a linear warm-up from 0 to `peak`, then a half cosine towards `last` (docs/method.md).

    With W warm-up steps of T: peak·(s − 1)/(W − 1) for s ≤ W (W = 1: 0), then
    last + (peak − last)·½(1 + cos(π(s − W − 1)/(T − W))). So the peak comes twice and `last` is never reached, as in
    the reference.

    Args:
        step: s, from 1 to `total_steps`.
        total_steps: T.
        warmup_steps: W, less than T.
        peak: highest rate, already scaled by the batch size.
        last: value at the end of the cosine.
    """
    if step <= warmup_steps:
        return peak * (step - 1) / max(warmup_steps - 1, 1)
    progress = (step - warmup_steps - 1) / (total_steps - warmup_steps)
    return last + (peak - last) * 0.5 * (1 + math.cos(math.pi * progress))


def optimizer_step(
    optimizer: torch.optim.Optimizer,
    lr: float,
    denominator: Float[Tensor, ""],
    clip_grad: float | None,
    *,
    update: bool = True,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """One update from the gradients of an un-normalised sum.

    Args:
        lr: learning rate of the step; each group multiplies it by its `lr_scale`.
        denominator: number that the gradients still have to be divided by.
        clip_grad: largest norm of the divided gradient; None: no clipping.
        update: False: only measure the gradient and clear it; weights and moments stay as they are.

    Returns:
        The gradient's norm, and 1 if the step was skipped because it was not finite, else 0; both still on the device.
    """
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    total = torch.nn.utils.get_total_norm(gradients)
    if isinstance(total, DTensor):  # of shards (FSDP2): each process has a part of the sum of squares
        total = total.full_tensor()
    norm = total / denominator
    scale = denominator if clip_grad is None else denominator * (norm / clip_grad).clamp(min=1.0)
    skipped = 1.0 - torch.isfinite(norm).float()
    if update:
        optimizer.grad_scale = scale.float()  # type: ignore[attr-defined]
        optimizer.found_inf = skipped  # type: ignore[attr-defined]
        for group in optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm, skipped
