"""The state in a checkpoint: today's layout, and those of earlier versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from old_layout import flatten
from rich.console import Console

from unic.errors import InputError, PreemptedError
from unic.recipe.schema import load_recipe
from unic.runs import checkpoint
from unic.runs.state import Position, as_parts, has_ended, newest_state
from unic.training.train import fit

QUIET = Console(quiet=True)
FLAT = {  # plain values of a checkpoint of version 0.1, shortened
    "identity": {"recipe": {"seed": 0}, "teachers": {"vit": "ab37"}, "prints": 2, "images": "0b70"},
    "damaged": {"b.png": "torn"}, "guard": {"skipped": 1, "streak": 0, "lr_scale": 0.5}, "stage": 1, "first": 30,
    "first_epoch": 2, "is_finished": True, "patience": {"best": 50.0, "looks": 3}, "queries": "training parts",
    "models": {"before": False, "student": {}, "teachers": {}}, "folder": "/home/a", "written": {"x": "${oc.env:X}"},
    "best": [20, 50.0],
}  # fmt: skip


def test_the_flat_layout_is_read_as_parts() -> None:
    parts = as_parts(45, FLAT)
    assert parts["position"] == {"stage": 1, "first": 30, "first_epoch": 2, "step": 45, "is_finished": True}
    assert parts["patience"] == {"best": 50.0, "looks": 3, "queries": "training parts"}
    assert parts["saver"] == {"best": [20, 50.0], "queries": "training parts"}
    assert parts["places"] == {"folder": "/home/a", "written": {"x": "${oc.env:X}"}}
    assert parts["models"] is FLAT["models"]
    assert parts["damaged"] == {"b.png": "torn"}
    assert as_parts(45, parts) is parts


def test_the_first_version_said_less() -> None:
    parts = as_parts(7, {"identity": {}, "damaged": {}})
    assert "models" not in parts
    position = Position.of(parts)
    assert position == Position(0, 0, None, 7, None)
    assert position.has_ended(1)
    assert not position.has_ended(2)


@pytest.mark.parametrize(("finished", "stage", "num_stages", "ended"), [
    (True, 0, 0, True), (True, 0, 1, True), (True, 0, 2, False), (False, 1, 2, False), (True, 1, 2, True),
    (None, 1, 2, True),
])  # fmt: skip
def test_a_training_has_ended_with_its_last_stage(
    finished: bool | None, stage: int, num_stages: int, ended: bool
) -> None:
    assert Position(stage=stage, is_finished=finished).has_ended(num_stages) is ended


def test_a_later_stage_without_its_epochs_is_not_continued() -> None:
    early = {**FLAT}
    del early["first_epoch"]
    with pytest.raises(InputError, match="orders images.*later stage"):
        Position().load_state_dict(as_parts(45, early)["position"])


def test_a_run_begun_in_the_flat_layout_ends_as_one_that_was_not_interrupted(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    """Trains two stages with an average, a pull and micro-batches, and stops in the second."""
    recipe |= {"trackers": {}, "stages": [{}, {"train.lr": 0.004}], "checkpoint": {"every": 100}}
    recipe["train"] |= {"steps": 3, "ema": 0.9, "pull": 0.1, "micro_batches": 2}
    settings = load_recipe(recipe, ["eval.every=5"])
    whole = fit(settings, tmp_path / "whole", console=QUIET).state_dict()
    run = tmp_path / "run"

    def stop(*_: object) -> dict[str, float]:
        raise PreemptedError("stopped")

    with pytest.raises(PreemptedError):
        fit(load_recipe(recipe, ["eval.every=5", "checkpoint.every=4"]), run, console=QUIET, callback=stop)
    assert not has_ended(run, 2)
    assert flatten(run)["stage"] == 1
    assert (newest_state(run) or {})["position"]["step"] == 4
    again = fit(settings, run, console=QUIET, resume=True).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    assert has_ended(run, 2)
    saved, _ = checkpoint.load_newest(run) or (None, [])
    assert saved is not None
    assert saved.state["position"] == {"stage": 1, "first": 3, "first_epoch": 1, "step": 6, "is_finished": True}
