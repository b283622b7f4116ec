"""AdamW's update against its formulas (Loshchilov and Hutter, arXiv 1711.05101) in a float64 loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from unic.recipe.sections import TrainSection
from unic.training.optimizer import build_optimizer, optimizer_step

LR, DECAY, EPS = 0.1, 0.3, 1e-8


class AdamW:
    """One number, with its own moments."""

    def __init__(self, value: float, decay: float, betas: tuple[float, float]) -> None:
        self.value, self.decay, self.betas = value, decay, betas
        self.first = self.second = 0.0
        self.count = 0

    def step(self, gradient: float) -> None:
        self.count += 1
        a, b = self.betas
        self.first = a * self.first + (1 - a) * gradient
        self.second = b * self.second + (1 - b) * gradient**2
        update = (self.first / (1 - a**self.count)) / (math.sqrt(self.second / (1 - b**self.count)) + EPS)
        self.value -= LR * (update + self.decay * self.value)


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_updates_in_a_naive_loop(clip: float | None, bad: float) -> None:
    """Gradients of a sum are divided by its denominator, then clipped; a step that is not finite leaves no trace."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3))
    setting = TrainSection(weight_decay=DECAY)
    optimizer = build_optimizer(model, setting)
    parameters = list(model.parameters())
    numbers = [
        [AdamW(value, DECAY if p.ndim > 1 else 0.0, setting.betas) for value in p.flatten().tolist()]
        for p in parameters
    ]
    for step in range(6):
        denominator = 3.0 + step
        gradients = [torch.randn_like(p) * 4 for p in parameters]
        if step == 3:
            gradients[0][1, 2] = bad
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient.clone()
        norm, skipped = optimizer_step(optimizer, LR, torch.tensor(denominator), clip)
        assert skipped.item() == (step == 3)
        if step != 3:
            divided = [[value / denominator for value in gradient.flatten().tolist()] for gradient in gradients]
            length = math.sqrt(math.fsum(value**2 for part in divided for value in part))
            assert norm.item() == pytest.approx(length, rel=1e-5)
            factor = min(1.0, clip / length) if clip else 1.0
            for own, part in zip(numbers, divided, strict=True):
                for number, value in zip(own, part, strict=True):
                    number.step(factor * value)
        for p, own in zip(parameters, numbers, strict=True):
            assert p.flatten().tolist() == pytest.approx([number.value for number in own], rel=1e-5, abs=1e-5)
