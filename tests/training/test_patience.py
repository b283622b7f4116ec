"""A resumed run keeps its best k-NN score, except for scores of older versions, which measured test images."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from old_layout import flatten
from rich.console import Console

from unic.recipe.schema import load_recipe
from unic.runs import checkpoint
from unic.training.train import fit


def scored(recipe: dict[str, Any], run: Path, scores: list[float], *, resume: bool = False) -> dict[str, Any]:
    """The state after one k-NN evaluation for each score."""
    left = list(scores)
    settings = load_recipe(recipe, ["eval.every=2", "checkpoint={every: 2, best: knn/mean}", "trackers=[]"])
    with suppress(IndexError):  # the run dies at the evaluation after the last score
        fit(settings, run, resume=resume, console=Console(quiet=True), callback=lambda *_: {"knn/mean": left.pop(0)})
    found = checkpoint.load_newest(run)
    assert found is not None
    return found.checkpoint.state


def test_a_resumed_run_knows_its_best(recipe: dict[str, Any], tmp_path: Path) -> None:
    assert scored(recipe, tmp_path / "run", [50.0, 40.0])["saver"]["best"] == [2, 50.0]
    state = scored(recipe, tmp_path / "run", [45.0, 44.0], resume=True)
    assert state["saver"]["best"] == [2, 50.0]
    assert state["patience"] == {"best": 50.0, "looks": 3, "queries": "training parts"}


def test_what_was_chosen_on_test_images_is_forgotten(
    recipe: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scored(recipe, tmp_path / "run", [90.0, 40.0])
    flatten(tmp_path / "run")
    newest, _ = checkpoint.load_newest(tmp_path / "run") or (None, None)
    assert newest is not None
    older = {key: value for key, value in newest.state.items() if key != "queries"}
    checkpoint.save(tmp_path / "run", replace(newest, state=older), keep=2, best=2)
    state = scored(recipe, tmp_path / "run", [45.0, 44.0], resume=True)
    assert state["saver"]["best"] == [6, 45.0]
    assert state["patience"] == {"best": 45.0, "looks": 1, "queries": "training parts"}
    for key in ("eval.patience", "checkpoint.best"):
        assert any(key in line and "test images" in line for line in caplog.messages)
