"""What a recipe asks for that hardly anybody means is a warning with the value that would suit."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic.preflight import check_recipe
from unic.projectors._widths import num_parameters, suited_width
from unic.recipe.schema import load_recipe
from unic.training import advice as advising
from unic.training.advice import advice
from unic.training.build import build
from unic.training.train import fit

CPU = torch.device("cpu")


def advised(recipe: dict[str, Any], *overrides: str) -> dict[str, str]:
    return dict(advice(build(load_recipe(recipe, overrides), CPU)))


def test_few_steps(recipe: dict[str, Any]) -> None:
    assert re.match("8 steps .*train.steps=300 ", advised(recipe)["train"])
    # 40 images in steps of 8 are five an epoch.
    epochs = advised(recipe, "train.steps=null", "train.epochs=2")["train"]
    assert re.match("10 steps .*train.epochs=60 ", epochs)
    assert "train" not in advised(recipe, "train.steps=300")


def test_steps_in_which_nothing_learns(recipe: dict[str, Any]) -> None:
    phi_s = "standardize={type: phi_s, steps: 50}"
    assert re.match(
        "nothing learns in the first 50 of 400 .*standardize.steps",
        advised(recipe, phi_s, "train.steps=400")["standardize"],
    )
    assert "standardize" not in advised(recipe, phi_s, "train.steps=500")
    assert "standardize" not in advised(recipe)  # one step


@pytest.mark.parametrize(("first", "told"), [({}, [True, False]), ({"student.frozen": True}, [False, True])])
def test_a_stage_after_a_trained_student_may_be_short(
    recipe: dict[str, Any], tmp_path: Path, first: dict[str, Any], told: list[bool]
) -> None:
    recipe |= {"trackers": {}, "stages": [first, {"train.steps": 2}]}
    report = check_recipe(load_recipe(recipe), CPU)
    for part, is_told in zip((report, *report.stages), told, strict=True):
        assert any("hardly train" in finding.text for finding in part.findings) == is_told
    fit(load_recipe(recipe), tmp_path / "run", console=Console(quiet=True))
    assert (tmp_path / "run/train.log").read_text().count("hardly train") == 1


def test_projectors_that_dwarf_the_student(recipe: dict[str, Any]) -> None:
    assert "projector" not in advised(recipe)
    found = advised(recipe, "projector.hidden_dim=2000", "projector.last_hidden_dim=8000")["projector"]
    assert "projector.hidden_dim=64 projector.last_hidden_dim=256 " in found
    assert "projector" not in advised(recipe, "projector.hidden_dim=64", "projector.last_hidden_dim=256")


def test_the_width_that_suits_is_of_the_tokens_that_are_matched(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def noted(rung_dims: Any, output_dims: Any, width: int, student: int) -> int:
        asked.append(list(output_dims))
        return suited_width(rung_dims, output_dims, width, student)

    monkeypatch.setattr(advising, "suited_width", noted)
    wide = ("projector.hidden_dim=8000", "projector.last_hidden_dim=8000")
    advised(recipe, *wide)
    advised(recipe, *wide, "teachers.models.vit.tokens=cls", "teachers.models.cnn.tokens=patches")
    advised(recipe, *wide, "teachers.cache={tokens: cls}")
    assert asked == [[(64, 64), (256, 256)], [(64, 0), (0, 256)], [(64, 0), (256, 0)]]


def test_checkpoints_that_dwarf_the_student(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    wide = ("projector.hidden_dim=2000", "projector.last_hidden_dim=8000")
    assert "checkpoint" not in advised(recipe, *wide)  # many times the student, but no gigabyte
    monkeypatch.setattr(advising, "_LARGE", 1e6)
    assert "checkpoint.keep=1" in advised(recipe, *wide)["checkpoint"]
    assert "checkpoint.keep" not in advised(recipe, *wide, "checkpoint.keep=1")["checkpoint"]
    assert "checkpoint" not in advised(recipe)


def test_it_is_told_by_a_check_in_the_log_and_on_the_screen(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["train"]["steps"] = 2
    report = check_recipe(load_recipe(recipe), CPU)
    (line,) = [found.text for found in report.findings if (found.level, found.about) == ("warning", "train")]
    assert line.startswith("2 steps ")
    console = Console(record=True, file=io.StringIO(), width=300)
    fit(load_recipe(recipe), tmp_path / "run", console=console)
    assert f"warning: train: {line}" in (tmp_path / "run/train.log").read_text()
    assert f"warning: train: {line}" in console.export_text()


def test_the_width_that_suits() -> None:
    """By hand: an inner rung has d·h + h + h·e + e parameters, the last one four times the h; CLS and patches each."""
    rungs, teachers = [(10, 10), (20, 20)], [(30, 40)]
    inner = sum(10 * 64 + 64 + 64 * e + e for e in (30, 40))
    last = sum(20 * 256 + 256 + 256 * e + e for e in (30, 40))
    assert num_parameters(rungs, teachers, 512, 64) == inner + last
    # The paper's: ViT-B/16, four teachers of its width, hidden width 768.
    vit = [(768, 768)] * 12
    assert suited_width(vit, [(768, 768)] * 4, 768, 86_000_000) == 768
    # A CNN of 3.4 million whose last stage is 1280 wide would get 1280.
    narrow = suited_width([(16, 16), (40, 40), (112, 112), (1280, 320)], [(1280, 1280), (384, 384)], 1280, 3_400_000)
    assert num_parameters([(16, 16), (40, 40), (112, 112), (1280, 320)], [(1280, 1280), (384, 384)], 1280, narrow) <= (
        4 * 3_400_000
    )
    assert 64 < narrow < 1280
    assert suited_width(rungs, teachers, 512, 1) == 64


def test_squares_of_huge_targets(recipe: dict[str, Any]) -> None:
    recipe["standardize"] = {"type": "ema"}
    assert "standardize.floor=0.1" in advised(recipe, "loss={mse: 1}")["standardize"]
    own = f"teachers.models.vit={{uri: '{recipe['teachers']['models']['vit']}', loss: {{mse: 1}}}}"
    assert "standardize.floor=0.1" in advised(recipe, own)["standardize"]
    assert "standardize" not in advised(recipe, "loss={mse: 1}", "standardize.floor=0.1")
    assert "standardize" not in advised(recipe, "loss={cosine: 1}")


def test_an_anchor_at_random_weights(recipe: dict[str, Any]) -> None:
    recipe["data"]["train"] = [{"path": recipe["data"]["train"], "anchor": 0.3}]
    assert "anchor" in advised(recipe)["data.train"]
    assert "data.train" not in advised(recipe, "data.train.0.anchor=0")
