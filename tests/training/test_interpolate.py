"""The student between start and end: its weights, its statistics, who sees it, and how α is chosen."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import unic
from unic.errors import InputError
from unic.heads import kept_head
from unic.recipe.schema import load_recipe
from unic.runs.checkpoint import load_newest
from unic.runs.metrics import read_metrics
from unic.training import interpolate, ridge
from unic.training.build import build
from unic.training.interpolate import CANDIDATES, best
from unic.training.mixture import first_views, mixture
from unic.training.ridge import RidgeScore, r_squared
from unic.training.train import fit
from unic.training.trained import load_trained

QUIET = Console(quiet=True)
CNN = "timm:test_efficientnet?pretrained=false&img_size=64"


def tensors(run: Path, step: int = 8) -> dict[str, torch.Tensor]:
    return load_file(run / f"checkpoints/step-{step}/tensors.safetensors")


def test_what_leaves_lies_between_and_what_is_kept_is_trained(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["trackers"] = {}
    returned = fit(load_recipe(recipe, ["train.interpolate=0.25"]), tmp_path / "run", console=QUIET)
    fit(load_recipe(recipe), tmp_path / "plain", console=QUIET)
    saved, plain = tensors(tmp_path / "run"), tensors(tmp_path / "plain")
    assert all(torch.equal(saved[name], plain[name]) for name in plain)
    trained = load_trained(tmp_path / "run")
    leaving, kept = trained.student().state_dict(), kept_head(tmp_path / "run", "vit", device="cpu")
    assert trained.alpha == 0.25
    for name, tensor in leaving.items():
        start, end = saved[f"start.{name}"], saved[f"distiller.student.{name}"]
        assert torch.allclose(tensor, 0.75 * start + 0.25 * end, atol=1e-6)
        assert torch.equal(tensor, returned.state_dict()[name])
        assert torch.equal(kept.student.state_dict()[name], end)  # type: ignore[union-attr, operator]
    assert any(not torch.equal(tensor, saved[f"distiller.student.{name}"]) for name, tensor in leaving.items())


def test_another_share_is_asked_for_without_training_again(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["trackers"] = {}
    run = tmp_path / "run"
    fit(load_recipe(recipe, ["train.interpolate=0.25"]), run, console=QUIET)
    rows, before = read_metrics(run), tensors(run)
    fit(load_recipe(recipe, ["train.interpolate=0.5"]), run, console=QUIET, resume=True)
    assert read_metrics(run) == rows
    name = "model.blocks.0.mlp.fc1.weight"
    found = load_trained(run).student().state_dict()[name]
    assert torch.allclose(found, 0.5 * (before[f"start.{name}"] + before[f"distiller.student.{name}"]), atol=1e-6)
    fit(load_recipe(recipe), run, console=QUIET, resume=True)
    assert torch.equal(load_trained(run).student().state_dict()[name], before[f"distiller.student.{name}"])


def test_its_page_and_its_card_say_the_share(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["trackers"] = {}
    recipe["data"]["train"] = [{"path": recipe["data"]["train"], "anchor": 0.1}]
    fit(load_recipe(recipe, ["train.interpolate=0.25"]), tmp_path / "run", console=QUIET)
    card = (unic.export(tmp_path / "run", check=False) / "README.md").read_text()
    assert re.search(r"Weights: 0\.75 .*start.* 0\.25 .*trained", card)
    page = unic.report(tmp_path / "run").read_text()
    assert re.search(r"weights .*0\.75 .*start.* 0\.25 .*trained", page)
    assert "Drift from the start" in page


def test_a_run_without_its_start_cannot(recipe: dict[str, Any], tmp_path: Path) -> None:
    fit(load_recipe(recipe), tmp_path / "run", console=QUIET)
    with pytest.raises(InputError, match="train.interpolate.*weights.*started"):
        fit(load_recipe(recipe, ["train.interpolate=0.5"]), tmp_path / "run", console=QUIET, resume=True)


def test_statistics_are_those_of_the_mixture_on_training_views(recipe: dict[str, Any]) -> None:
    recipe["student"] = {"model": CNN, "drop_path": 0.5}
    recipe["data"]["size"] = 64
    again = load_recipe(recipe, ["train.interpolate_norms=again"])
    job = build(again, torch.device("cpu"))
    start = {name: 2 * tensor for name, tensor in job.student.state_dict().items()}
    views = first_views(job)
    assert views is not None
    mixed = mixture(job.student, start, 0.5, views)
    assert torch.allclose(mixed.model.conv_stem.weight, 1.5 * job.student.model.conv_stem.weight)
    shown = list(views)
    assert len(shown) == 5  # an epoch: 40 images, 8 at a time
    with torch.no_grad():
        maps = [mixed.model.conv_stem(mixed.prepare(images)) for images in shown]
    expected = torch.stack([each.mean(dim=(0, 2, 3)) for each in maps]).mean(0)
    assert torch.allclose(mixed.model.bn1.running_mean, expected, atol=1e-5)
    assert not mixed.training
    assert mixed.model.bn1.momentum == job.student.model.bn1.momentum
    assert first_views(build(load_recipe(again, ["student.batch_norms=start"]), torch.device("cpu"))) is None


def test_statistics_lie_between_unless_they_are_asked_for_again(recipe: dict[str, Any]) -> None:
    recipe["student"] = {"model": CNN, "drop_path": 0.5}
    recipe["data"]["size"] = 64
    job = build(load_recipe(recipe), torch.device("cpu"))
    assert first_views(job) is None
    variance = job.student.model.bn1.running_var.fill_(4.0)
    start = {name: torch.zeros_like(tensor) for name, tensor in job.student.state_dict().items()}
    mixed = mixture(job.student, start, 0.25).model.bn1.running_var
    assert torch.equal(mixed, torch.ones_like(variance))


def test_auto_measures_every_share_on_images_that_were_held_out(
    recipe: dict[str, Any], image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ridge, "FEWEST", 3)
    recipe |= {"trackers": {}}
    recipe["data"] |= {"train": str(image_folder / "warm"), "holdout": 0.3, "validation": [str(image_folder / "cold")]}
    settings = load_recipe(recipe, ["train.interpolate=auto"])

    def power_cut(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(interpolate, "best", power_cut)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(settings, tmp_path / "run", console=QUIET)
    monkeypatch.setattr(interpolate, "best", best)
    with pytest.raises(InputError, match=r"before train\.interpolate"):
        load_trained(tmp_path / "run")
    fit(settings, tmp_path / "run", console=QUIET, resume=True)
    found = load_newest(tmp_path / "run/interpolated")
    assert found is not None
    rows = found.checkpoint.state["r2"]
    assert [(row["alpha"], Path(row["source"]).name, row["teacher"]) for row in rows] == [
        (alpha, source, teacher) for alpha in CANDIDATES for source in ("warm", "cold") for teacher in ("vit", "cnn")
    ]
    means = {alpha: np.mean([row["r2"] for row in rows if row["alpha"] == alpha]) for alpha in CANDIDATES}
    assert load_trained(tmp_path / "run").alpha == max(means, key=lambda alpha: means[alpha])
    log = (tmp_path / "run/train.log").read_text()
    assert all(f"α = {alpha:g}: R² of the teachers' CLS" in log for alpha in CANDIDATES)
    images = json.loads((tmp_path / "run/checkpoints/step-8/state.json").read_text())["state"]["identity"]["images"]
    assert images != build(load_recipe(recipe, ["data.holdout=0"]), torch.device("cpu")).images.fingerprint()


def test_the_best_mean_over_sources_wins_and_of_equals_the_one_nearest_to_the_start() -> None:
    def rows(*values: float) -> list[RidgeScore]:
        return [RidgeScore("a", "x", values[0]), RidgeScore("a", "y", values[1]), RidgeScore("b", "x", values[2])]

    # Means over sources: 0.5, 0.5, 0.45; over all pairs the last would win.
    assert best({0.5: rows(0.2, 0.2, 0.8), 0.25: rows(0.4, 0.4, 0.6), 1.0: rows(0.6, 0.6, 0.3)}) == 0.25


def test_r_squared_is_what_can_be_read_off() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(200, 8)).astype(np.float32)
    signal = vectors @ draw.normal(size=(8, 3)).astype(np.float32)
    assert r_squared(1000 * vectors + 7, signal) > 0.999
    noise = draw.normal(size=(200, 3)).astype(np.float32) * signal.std(axis=0)
    assert r_squared(vectors, signal + noise) == pytest.approx(0.5, abs=0.12)
    assert abs(r_squared(vectors, noise)) < 0.1
    # One channel of a variance a hundred times as large decides nearly alone.
    assert r_squared(vectors, np.stack([10 * noise[:, 0], signal[:, 0]], axis=1)) < 0.2


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (["train.interpolate=atuo"], "train.interpolate.*auto.*above 0.*at most 1"),
        (["train.interpolate=1.5"], "train.interpolate.*auto.*above 0.*at most 1"),
        (["train.interpolate=auto", "data.holdout=0"], r"data\.holdout.*data\.validation"),
        (["train.interpolate=auto"], r"\b20 .*images.*data\.holdout=0\.05.* \d+ of"),
        (["train.interpolate=auto", "data.holdout=0", "data.validation=nowhere/at/all"], "nowhere/at/all"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused_before_anything(
    recipe: dict[str, Any], tmp_path: Path, changes: list[str], line: str
) -> None:
    with pytest.raises(InputError, match=line):
        fit(load_recipe(recipe, changes), tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()
