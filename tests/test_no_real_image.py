"""Recipes whose only images are generated or synthesised: checked, cached, trained, killed, resumed, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import unic
from unic.encoders import Encoder, load_encoder
from unic.recipe.schema import load_recipe
from unic.training.train import fit

QUIET = Console(quiet=True)


@pytest.fixture
def generated(recipe: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Two families in one epoch of 24 images, teachers cached."""
    recipe["data"] |= {
        "train": [
            {"path": "generated:drawings?images=16&size=32"},
            {"path": "generated:dead_leaves?images=16&size=32&leaves=20", "weight": 0.5, "teachers": ["vit"]},
        ],
        "augment": "light",
    }
    recipe["teachers"]["cache"] = {"views": 2, "dir": str(tmp_path / "cache")}
    return recipe


def test_a_run_on_generated_images_from_check_to_export(generated: dict[str, Any], tmp_path: Path) -> None:
    report = unic.check(generated)
    assert report.is_ready, report.findings
    assert [row["images"] for row in report.images] == [16, 16]
    assert [row["damaged"] for row in report.images] == [[], []]
    run = unic.distill(generated, out=tmp_path / "whole", console=QUIET)
    assert (run / "export/model.safetensors").is_file()
    with torch.no_grad():
        assert load_encoder(f"run:{run}")(torch.rand(2, 3, 32, 32)).cls.isfinite().all()

    def die(student: Encoder, step: int) -> dict[str, float]:
        raise RuntimeError("power cut")

    broken, settings = tmp_path / "broken", load_recipe(generated, ["eval.every=5"])
    with pytest.raises(RuntimeError, match="power cut"):
        fit(settings, broken, console=QUIET, callback=die)
    fit(settings, broken, console=QUIET, resume=True)
    last = "checkpoints/step-8/tensors.safetensors"
    assert (broken / last).read_bytes() == (run / last).read_bytes()


def test_synthesised_shards_are_training_images(recipe: dict[str, Any], tmp_path: Path) -> None:
    start = "generated:dead_leaves?size=32&leaves=20"
    teachers = recipe["teachers"]["models"]
    unic.synthesise(
        teachers, tmp_path / "shards", images=8, size=32, start=start, pool=4, subset=2, steps=2, console=QUIET
    )
    recipe["data"]["train"] = str(tmp_path / "shards")
    recipe["train"]["steps"] = 2
    assert unic.check(recipe).images[0]["images"] == 8
    assert (unic.distill(recipe, out=tmp_path / "run", console=QUIET) / "export/model.safetensors").is_file()


@pytest.mark.teachers
@pytest.mark.parametrize("name", ["generated", "synthesised"])
def test_shipped_recipes_without_real_images_have_the_quickstarts_length(name: str) -> None:
    """So that students of all three can be compared."""
    quickstart, other = load_recipe("quickstart"), load_recipe(name)
    assert other.train == quickstart.train
    assert other.student == quickstart.student
    assert other.teachers.models == quickstart.teachers.models
    assert quickstart.train.steps
    assert not any("samples/" in source.path for source in other.data.train)
