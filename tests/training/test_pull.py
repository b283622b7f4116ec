"""Decay towards the start: its formula, and runs that keep to it and go on with the same start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

from unic.encoders import Encoder
from unic.recipe.schema import load_recipe
from unic.recipe.sections import TrainSection
from unic.training.optimizer import build_optimizer, optimizer_step
from unic.training.pull import pull_towards
from unic.training.train import fit

QUIET = Console(quiet=True)


def test_it_is_a_decay_to_the_start_in_place_of_zero() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    student, projector = model
    for parameter in model.parameters():
        parameter.data.fill_(2.0)
    rates = dict.fromkeys(student.parameters(), 0.5)
    optimizer = build_optimizer(model, TrainSection(weight_decay=0.25, pull=0.5), rates)
    pull_towards({"weight": torch.ones(1, 1), "bias": torch.ones(1)}, student, optimizer, 0.5)

    def step(gradient: float) -> None:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        optimizer_step(optimizer, 0.2, torch.tensor(1.0), None)

    step(0.0)  # so AdamW itself moves nothing
    assert student.weight.item() == student.bias.item() == pytest.approx(2 - 0.2 * 0.5 * 0.5 * (2 - 1))
    assert projector.weight.item() == pytest.approx(2 - 0.2 * 0.25 * 2)
    assert projector.bias.item() == 2
    before = [parameter.item() for parameter in model.parameters()]
    step(float("nan"))
    assert [parameter.item() for parameter in model.parameters()] == before


def test_a_strong_pull_keeps_the_student_and_a_resume_knows_the_start(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {"trackers": {}, "stages": [{}, {"train.steps": 4}]}

    def run(name: str, *changes: str, **options: Any) -> dict[str, torch.Tensor]:
        fit(load_recipe(recipe, changes), tmp_path / name, console=QUIET, **options)
        return load_file(tmp_path / name / "checkpoints/step-12/tensors.safetensors")

    def die(encoder: Encoder, step: int) -> dict[str, float]:
        raise RuntimeError("power cut")

    free, pulled = run("free"), run("pulled", "train.pull=2000")
    assert not any(name.startswith("start.") for name in free)
    start = {name: tensor for name, tensor in pulled.items() if name.startswith("start.model.blocks")}

    def distance(tensors: dict[str, torch.Tensor]) -> float:
        return sum(
            float((tensors[name.replace("start.", "distiller.student.")] - tensor).abs().sum())
            for name, tensor in start.items()
        )

    assert 0 < distance(pulled) < 0.5 * distance(free)
    with pytest.raises(RuntimeError, match="power cut"):
        run("broken", "train.pull=2000", "eval.every=10", callback=die)
    resumed = run("broken", "train.pull=2000", resume=True)
    assert all(torch.equal(pulled[name], resumed[name]) for name in pulled.keys() | resumed.keys())
