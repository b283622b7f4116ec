"""A linear head on patch tokens that are computed anew in each step, trained by AdamW with a published schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unic.errors import InputError
from unic.eval.live import Live
from unic.tokens import Tokens, map_of

Loss = Callable[[Float[Tensor, "b k h w"], Tensor, int], Tensor]
"""Loss of maps on the grid of the patches and targets at a step, from 0."""
_SHOWN = 50  # steps between two lines of progress


class LiveHead(nn.Module):
    """`W · BN(patch) + b`, or `W · [patch, CLS] + b`, for each patch.

    Args:
        live: images and encoder that the head reads.
        outputs: number of channels of the maps.
        norm: whether there is a batch normalisation.
        cls: whether CLS stands beside every patch.
        std: deviation of the first weights, whose bias is 0; None: uniform in ±1/√inputs, the bias too, as in torch.
        seed: seed of the first weights.
    """

    def __init__(self, live: Live, outputs: int, *, norm: bool, cls: bool, std: float | None, seed: int) -> None:
        super().__init__()
        of_cls, width = live.widths()
        self.width, self.has_cls = width, cls
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.linear = nn.Linear(width + (of_cls if cls else 0), outputs)
        generator, bound = torch.Generator().manual_seed(seed), self.linear.in_features**-0.5
        for values in (self.linear.weight, self.linear.bias):
            if std is None:
                nn.init.uniform_(values, -bound, bound, generator=generator)
            else:
                nn.init.normal_(values, std=std if values.ndim == 2 else 0.0, generator=generator)
        self.to(live.device)

    def forward(self, tokens: Tokens) -> Float[Tensor, "b k h w"]:
        patches = self.norm(tokens.patches.flatten(0, 1)).unflatten(0, tokens.patches.shape[:2])
        weight = self.linear.weight
        maps = F.linear(patches, weight[:, : self.width], self.linear.bias)
        if self.has_cls:  # the same as a product with CLS beside every patch
            maps = maps + F.linear(tokens.cls, weight[:, self.width :])[:, None]
        return map_of(maps, tokens.grid)


@dataclass(frozen=True)
class Schedule:
    """AdamW and its course over the steps.

    Attributes:
        steps: number of steps.
        batch_size: images of a step.
        lr: learning rate before the factors of `decay` and of the warm-up.
        weight_decay: weight decay of all parameters.
        warmup: steps of the warm-up, and the factor with which it begins; it rises linearly to 1.
        decay: "linear" or "cosine", both to 0 over all steps.
        betas: betas of AdamW.
        cycled: β₁ goes to this value over the first 30 % of the steps and back, by cosines; None: it stays.
        clip: largest norm of the gradient; None: not clipped.

    Raises:
        InputError: a value is out of range.
    """

    steps: int
    batch_size: int
    lr: float
    weight_decay: float
    warmup: tuple[int, float]
    decay: Literal["linear", "cosine"]
    betas: tuple[float, float] = (0.9, 0.999)
    cycled: float | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size) < 1 or self.lr <= 0 or self.weight_decay < 0:
            given = ", ".join(f"{key}={getattr(self, key)}" for key in ("steps", "batch_size", "lr", "weight_decay"))
            text = "expected at least 1 step and 1 image, lr above 0 and weight_decay of 0 or more"
            raise InputError(f"dense head: {text}, not {given}")

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        part = step / self.steps
        factor = 1 - part if self.decay == "linear" else 0.5 * (1 + math.cos(math.pi * part))
        count, first = self.warmup
        return self.lr * factor * (first + (1 - first) * min(step / count, 1) if count else 1)

    def momentum(self, step: int) -> float:
        """β₁ of a step, from 0."""
        high, low = self.betas[0], self.cycled
        if low is None:
            return high
        turn = 0.3 * self.steps
        place = step / turn if step < turn else (self.steps - step) / (self.steps - turn)
        return low + (high - low) * 0.5 * (1 + math.cos(math.pi * place))


def train(
    live: Live, head: LiveHead, batches: Iterable[tuple[Tensor, Tensor]], loss: Loss, schedule: Schedule
) -> LiveHead:
    """Trains a head on views and targets, and returns it in evaluation mode."""
    head.train()
    optimizer = torch.optim.AdamW(
        head.parameters(), schedule.lr, betas=schedule.betas, weight_decay=schedule.weight_decay
    )
    for step, (images, targets) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"], group["betas"] = schedule.rate(step), (schedule.momentum(step), schedule.betas[1])
        optimizer.zero_grad()
        loss(head(live.tokens(images)), targets.to(live.device), step).backward()
        if schedule.clip is not None:
            nn.utils.clip_grad_norm_(head.parameters(), schedule.clip)
        optimizer.step()
        if (step + 1) % _SHOWN == 0 or step + 1 == schedule.steps:
            live.say(f"{live.name}: step {step + 1}/{schedule.steps}")
    return head.eval()
