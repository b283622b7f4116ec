"""Shares of gradient and of kept images, read from a finished run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic.data.loader import training_batches
from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.runs import checkpoint
from unic.training import influence
from unic.training.build import build
from unic.training.influence import shares
from unic.training.teachers import LiveTeachers
from unic.training.train import fit
from unic.weightings import Pairs


def train(recipe: dict[str, Any], out: Path, *overrides: str) -> Path:
    fit(load_recipe(recipe, ["train.steps=4", *overrides]), out, console=Console(quiet=True))
    return out


def content(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_shares_leave_the_run_and_the_generator_alone(recipe: dict[str, Any], tmp_path: Path) -> None:
    run = train(recipe, tmp_path / "run")
    before, state = content(run), torch.get_rng_state()
    found = shares(run, "cpu")
    assert content(run) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert list(found["gradient"]) == ["vit", "cnn"]
    assert sum(found["gradient"].values()) == pytest.approx(1)
    assert min(found["gradient"].values()) > 0.01
    assert found == shares(run, "cpu")
    assert json.loads(json.dumps(found)) == found


def test_kept_is_the_mean_of_the_last_half(recipe: dict[str, Any], tmp_path: Path) -> None:
    run = train(recipe, tmp_path / "run")
    rows = [{"step": step, "loss": 1.0, "kept/vit": step / 10, "kept/cnn": 1.0} for step in range(1, 5)]
    rows.insert(3, {"step": 3, "knn/toy": 50.0})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert shares(run, "cpu")["kept"] == {"vit": pytest.approx(0.35), "cnn": 1.0}


@pytest.mark.parametrize("normalise", ["pair", "image"])
def test_gradients_against_a_second_computation(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalise: str
) -> None:
    """One batch, one teacher's loss at a time, by `backward`."""
    run = train(recipe, tmp_path / "run", f"weighting.normalise={normalise}", "data.augment=none")
    monkeypatch.setattr(influence, "_NUM_BATCHES", 1)
    job = build(load_recipe(run / "recipe.yaml"), torch.device("cpu"))
    found = checkpoint.load_newest(run)
    assert found
    job.distiller.load_state_dict(checkpoint.without_prefix("distiller.", found.checkpoint.tensors))
    job.standardizer.load_state_dict(checkpoint.without_prefix("standardizer.", found.checkpoint.tensors))
    job.distiller.eval()
    job.standardizer.eval()
    batch = next(
        training_batches(job.images, size=32, augment="none", seed=3, batch_size=32, first_step=1, num_steps=1)
    )
    images = job.augmentation(batch.images, 3, batch.view, batch.index)
    targets = job.standardizer(LiveTeachers(job.encoders, job.grid)(images, batch.index, batch.view))
    norms = []
    for teacher in range(2):
        losses = job.distiller(images, targets, 1, batch.index).losses
        c = job.weighting.coefficients(Pairs(losses.detach(), 1, batch.index))
        weight = c / c.sum(0) / 32 if normalise == "image" else c / c.sum()
        job.distiller.zero_grad(set_to_none=True)
        (weight[teacher] * losses[teacher]).sum().backward()
        squares = [p.grad.square().sum() for p in job.student.parameters() if p.grad is not None]
        norms.append(float(sum(squares)) ** 0.5)
    expected = [norm / sum(norms) for norm in norms]
    assert list(shares(run, "cpu")["gradient"].values()) == pytest.approx(expected, rel=1e-4)


def test_one_teacher_has_all_of_it(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["teachers"]["models"].pop("cnn")
    recipe["data"]["train"] = {"path": recipe["data"]["train"], "limit": 12}  # fewer than a batch of the measurement
    assert shares(train(recipe, tmp_path / "run"), "cpu") == {"gradient": {"vit": 1.0}, "kept": {"vit": 1.0}}


def test_a_teacher_that_owns_no_image_has_none_of_it(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["data"]["train"] = {"path": recipe["data"]["train"], "teachers": ["vit"]}
    assert shares(train(recipe, tmp_path / "run"), "cpu")["gradient"] == {"vit": 1.0, "cnn": 0.0}


def test_what_is_not_there_is_named(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        shares(tmp_path)
    (tmp_path / "recipe.yaml").write_text(load_recipe(recipe).to_yaml())
    with pytest.raises(InputError, match="no checkpoint yet"):
        shares(tmp_path)
