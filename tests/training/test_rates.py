"""Projectors learn at the recipe's rate, the student at a share of it, by layer; or not at all before its turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from unic.encoders import build_encoder
from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.recipe.sections import StudentSection
from unic.training.build import build
from unic.training.optimizer import optimizer_step
from unic.training.rates import student_rates
from unic.training.train import fit

QUIET = Console(quiet=True)
CNN = "timm:test_efficientnet?pretrained=false&img_size=64"


def test_each_layer_learns_at_its_share(recipe: dict[str, Any]) -> None:
    job = build(load_recipe(recipe, ["student.lr_scale=0.1", "student.layer_decay=0.5"]), torch.device("cpu"))
    for parameter in job.distiller.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer_step(job.optimizer, 1.0, torch.tensor(1.0), None)
    rates = {id(p): group["lr"] for group in job.optimizer.param_groups for p in group["params"]}
    assert all(rates[id(p)] == 1.0 for p in job.distiller.projectors.parameters())
    model = job.student.model
    above = len(model.blocks)  # layers above the stem; the norm belongs to the last block
    assert above > 2
    assert rates[id(model.patch_embed.proj.weight)] == pytest.approx(0.1 * 0.5**above)
    assert rates[id(model.blocks[0].attn.qkv.bias)] == pytest.approx(0.1 * 0.5 ** (above - 1))
    assert rates[id(model.blocks[-1].mlp.fc1.weight)] == pytest.approx(0.1)


def test_a_cnn_has_layers_too() -> None:
    student = build_encoder(CNN)
    rates = student_rates(student, StudentSection(model=CNN, layer_decay=0.5))
    assert rates[student.model.conv_stem.weight] < rates[student.model.blocks[3][0].conv_pw.weight]
    assert rates[student.model.conv_head.weight] == 1.0


def test_projectors_first_then_everything(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["student"] = {"model": CNN, "drop_path": 0.1}
    recipe |= {"checkpoint": {"every": 1, "keep": 9}, "trackers": {}}
    recipe["data"]["size"] = 64
    recipe["stages"] = [{"student.frozen": True, "train.steps": 3}, {"train.steps": 3}]
    fit(load_recipe(recipe), tmp_path / "run", console=QUIET)
    at = {step: load_file(tmp_path / f"run/checkpoints/step-{step}/tensors.safetensors") for step in (2, 3, 6)}
    student = [name for name in at[2] if name.startswith("distiller.student.")]
    projectors = [name for name in at[2] if name.startswith("distiller.projectors.") and name.endswith("weight")]
    assert any(name.endswith("running_mean") for name in student)
    assert all(torch.equal(at[2][name], at[3][name]) for name in student)
    assert all(not at[2][name].any() for name in student if name.endswith("running_mean"))
    assert not any(torch.equal(at[2][name], at[3][name]) for name in projectors)
    assert not torch.equal(
        at[3]["distiller.student.model.conv_stem.weight"], at[6]["distiller.student.model.conv_stem.weight"]
    )
    assert all(at[6][name].any() for name in student if name.endswith("running_mean"))


def test_a_student_that_never_trains_is_refused(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'student\.frozen'"):
        fit(load_recipe(recipe, ["student.frozen=true"]), tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()
