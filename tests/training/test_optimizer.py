"""Schedule, groups, and a step that divides, clips and skips without reading the device."""

import math

import pytest
import torch
from operations import Operations
from torch import nn

from unic.recipe.sections import TrainSection
from unic.training.optimizer import build_optimizer, learning_rate, optimizer_step


def test_schedule_starts_at_0_has_the_peak_twice_and_does_not_reach_the_last_rate() -> None:
    rate = [learning_rate(step, 110, 10, 1.0, 0.01) for step in range(1, 111)]
    assert rate[0] == 0
    assert rate[1] == pytest.approx(1 / 9)
    assert rate[9] == rate[10] == 1.0
    assert rate[60] == pytest.approx(0.01 + 0.99 / 2)
    # 1 − cos(π/100) = 4.9344e-4 of a half cosine is left at the last step.
    assert rate[-1] == pytest.approx(0.01 + 0.99 / 2 * 4.9344e-4, rel=1e-6)
    assert rate[10:] == sorted(rate[10:], reverse=True)


@pytest.mark.parametrize(("warmup", "first", "second"), [(0, 1.0, 0.75), (1, 0.0, 1.0), (2, 0.0, 1.0)])
def test_short_warm_ups(warmup: int, first: float, second: float) -> None:
    total = 3 + warmup  # three steps of cosine: 1, 0.75, 0.25
    rate = [learning_rate(step, total, warmup, 1.0, 0.0) for step in range(1, total + 1)]
    assert rate[:2] == pytest.approx([first, second])
    assert rate[-3:] == pytest.approx([1.0, 0.75, 0.25])


def test_no_weight_decay_on_biases_and_norms() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    model[1].weight.requires_grad_(False)
    decayed, plain = build_optimizer(model, TrainSection()).param_groups
    assert [p.shape for p in decayed["params"]] == [(4, 3)]
    assert decayed["weight_decay"] == 0.03
    assert [p.shape for p in plain["params"]] == [(4,), (4,)]  # two biases; the frozen norm weight is in no group
    assert plain["weight_decay"] == 0


def test_an_update_is_one_operation_for_each_group() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(9)))
    optimizer = build_optimizer(model, TrainSection())
    model(torch.ones(1, 2)).sum().backward()
    with Operations() as operations:
        optimizer_step(optimizer, 0.1, torch.tensor(1.0), 1.0)
    assert [name for name in operations.names if "adam" in name] == ["_fused_adamw_"] * 2


def test_a_step_without_update_measures_and_changes_nothing() -> None:
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model, TrainSection())
    before = [p.clone() for p in model.parameters()]
    model(torch.ones(1, 2)).sum().backward()
    norm, skipped = optimizer_step(optimizer, 0.1, torch.tensor(2.0), None, update=False)
    assert norm.item() == pytest.approx(math.sqrt(6) / 2)  # six gradients of 1, divided by 2
    assert skipped == 0
    assert not optimizer.state
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_non_finite_step_changes_nothing() -> None:
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model, TrainSection())
    model(torch.ones(1, 2)).sum().backward()
    optimizer_step(optimizer, 0.1, torch.tensor(1.0), None)
    before = [p.clone() for p in model.parameters()]
    count = [s["step"].clone() for s in optimizer.state.values()]
    (model(torch.ones(1, 2)).sum() * float("nan")).backward()
    _, skipped = optimizer_step(optimizer, 0.1, torch.tensor(1.0), None)
    assert skipped == 1
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert count == [s["step"] for s in optimizer.state.values()]
    assert all(p.grad is None for p in model.parameters())
