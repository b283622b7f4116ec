"""Runs of the first version go on by its rules; the first step of a run moves statistics only."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic.recipe.schema import load_recipe
from unic.runs import checkpoint
from unic.runs.metrics import read_metrics
from unic.training.build import build
from unic.training.train import fit
from unic.training.trained import load_trained

QUIET = Console(quiet=True)


def stop(*_: Any) -> dict[str, float]:
    raise RuntimeError("power cut")


def begin(recipe: dict[str, Any], out: Path, *overrides: str) -> None:
    """A run that dies at step 4, with a checkpoint of step 3."""
    with pytest.raises(RuntimeError, match="power cut"):
        fit(load_recipe(recipe, ["eval.every=4", *overrides]), out, console=QUIET, callback=stop)


def as_the_first_version(out: Path) -> None:
    """Takes out of the checkpoint what the first version did not write."""
    (saved, _) = checkpoint.load_newest(out) or pytest.fail("no checkpoint")
    del saved.state["models"]
    checkpoint.save(out, saved, keep=1)


def test_a_run_of_the_first_version_goes_on_by_its_rules(recipe: dict[str, Any], tmp_path: Path) -> None:
    """Rates by its formula, mean and std of the architecture, no floor though the recipe has one by now."""
    out = tmp_path / "run"
    recipe["teachers"]["models"]["vit"] += "&mean=0.5&std=0.5"  # as the first version took it, so the same teacher
    begin(recipe, out, "train.warmup_epochs=0.4")  # 2 steps
    as_the_first_version(out)
    now = load_recipe(recipe, ["train.warmup_epochs=0.4", "standardize.floor=0.1"])
    student = fit(now, out, console=QUIET, resume=True)
    rates = {row["step"]: row["lr"] for row in read_metrics(out)}
    peak, last = 0.01 * 8 / 256, 1e-6
    for step in range(4, 9):
        expected = last + (peak - last) * 0.5 * (1 + math.cos(math.pi * (step - 2) / 6))
        assert rates[step] == pytest.approx(expected, rel=1e-6), step
    assert rates[8] == pytest.approx(last)
    assert student.mean.flatten().tolist() == pytest.approx([0.5] * 3)  # timm's numbers for test_vit
    assert "floor" not in load_recipe(out / "recipe.yaml").standardize.options
    assert not any(key.startswith("floored/") for row in read_metrics(out) for key in row)
    log = (out / "train.log").read_text()
    kept = "its learning rate; no standardize.floor; student with mean=0.5,0.5,0.5&std=0.5,0.5,0.5"
    assert len(re.findall(f"earlier version.*: {re.escape(kept)}", log)) == 1
    assert load_trained(out).models.before
    assert load_trained(out).student().mean.flatten().tolist() == pytest.approx([0.5] * 3)


def test_a_student_is_read_back_with_the_mean_and_std_of_its_checkpoint(recipe: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    begin(recipe, out, "student.model=timm:test_vit?pretrained=false&img_size=32&mean=0.25&std=0.75")
    assert load_trained(out).student().mean.flatten().tolist() == [0.25] * 3
    as_the_first_version(out)
    assert load_trained(out).student().std.flatten().tolist() == [0.75] * 3


@pytest.mark.parametrize("warmup", [0, 0.4])
def test_the_first_step_moves_statistics_only(recipe: dict[str, Any], tmp_path: Path, warmup: float) -> None:
    """Its targets are not standardised: neither weights nor moments may learn from them."""
    settings = load_recipe(recipe, [f"train.warmup_epochs={warmup}", "checkpoint.every=1", "train.steps=2"])
    fit(settings, tmp_path / "run", console=QUIET)
    fresh = build(settings, torch.device("cpu")).distiller.state_dict()
    for step, moved in ((1, False), (2, True)):
        tensors = checkpoint._load(tmp_path / f"run/checkpoints/step-{step}").tensors
        weights = checkpoint.without_prefix("distiller.", tensors)
        assert any(not torch.equal(weights[name], fresh[name]) for name in fresh) is moved
        assert bool(checkpoint.without_prefix("optimizer.", tensors)) is moved
        assert checkpoint.without_prefix("standardizer.", tensors)["teachers.vit.cls.mean"].any()


def test_without_statistics_the_first_step_learns(recipe: dict[str, Any], tmp_path: Path) -> None:
    fit(load_recipe(recipe, ["train.steps=1", "standardize={type: none}"]), tmp_path / "run", console=QUIET)
    tensors = checkpoint._load(tmp_path / "run/checkpoints/step-1").tensors
    assert checkpoint.without_prefix("optimizer.", tensors)
