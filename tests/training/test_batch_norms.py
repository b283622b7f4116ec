"""A student with batch norms trains on single images, with the statistics that it began with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic.preflight import check_recipe
from unic.recipe.schema import load_recipe
from unic.training.batch_norms import batch_norms
from unic.training.build import build
from unic.training.train import fit

QUIET = Console(quiet=True)
CNN = "timm:test_efficientnet?pretrained=false&img_size=32"  # at 32 px its last map has a single place


@pytest.mark.parametrize(("batch_size", "micro_batches"), [(1, 1), (4, 4)])
def test_single_images(recipe: dict[str, Any], tmp_path: Path, batch_size: int, micro_batches: int) -> None:
    recipe["student"] = {"model": CNN, "drop_path": 0.0}
    settings = load_recipe(recipe, [f"train.batch_size={batch_size}", f"train.micro_batches={micro_batches}"])
    student = fit(settings, tmp_path / "run", console=QUIET)
    norms = batch_norms(student)
    assert norms
    assert all(torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean)) for norm in norms)
    assert any(norm.weight.ne(1).any() for norm in norms)  # they train all the same
    assert "running statistics" in (tmp_path / "run/train.log").read_text()


def test_two_images_at_a_time_are_averaged_over(recipe: dict[str, Any]) -> None:
    recipe["student"] = {"model": CNN.replace("=32", "=64"), "drop_path": 0.0}
    recipe["data"]["size"] = 64
    job = build(load_recipe(recipe, ["train.batch_size=2"]), torch.device("cpu"))
    job.distiller.train()
    job.student(torch.rand(2, 3, 64, 64))
    assert any(norm.running_mean.any() for norm in batch_norms(job.student))


def test_check_says_it(recipe: dict[str, Any]) -> None:
    recipe["student"] = {"model": CNN, "drop_path": 0.0}
    report = check_recipe(load_recipe(recipe, ["train.batch_size=1"]), torch.device("cpu"), name="mine")
    assert any("micro-batches" in finding.text for finding in report.findings)


def test_the_statistics_of_the_start_stay(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["student"] = {"model": CNN.replace("=32", "=64"), "drop_path": 0.0}
    recipe["data"]["size"] = 64

    def mean_of_means(run: str, *changes: str) -> float:
        student = fit(load_recipe(recipe, ["train.batch_size=4", *changes]), tmp_path / run, console=QUIET)
        return sum(float(norm.running_mean.abs().sum()) for norm in batch_norms(student))

    assert mean_of_means("kept", "student.batch_norms=start") == 0.0  # those of an untrained network
    assert mean_of_means("moved") > 0.1
