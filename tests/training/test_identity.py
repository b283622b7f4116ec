"""What makes a run the same one, also where an earlier version began it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.runs.metrics import read_metrics
from unic.training import environment
from unic.training.identity import check_recipe, check_same
from unic.training.train import fit

REFINED = ["py:lab:net", "onnx:m.onnx", "hub:./lab:net?trust_remote_code=true", "hf:./lab?trust_remote_code=true"]


def identities(recipe: dict[str, Any], uri: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a run whose teacher `vit` has had another fingerprint."""
    recipe["teachers"]["models"]["vit"] = uri
    same = {"recipe": load_recipe(recipe).model_dump(mode="json"), "prints": 2, "images": "i"}
    return {**same, "teachers": {"vit": "a"}}, {**same, "teachers": {"vit": "b"}}


@pytest.mark.parametrize("uri", ["timm:test_vit", *REFINED])
def test_another_teacher_is_refused(recipe: dict[str, Any], uri: str) -> None:
    saved, now = identities(recipe, uri)
    check_same(saved, saved)
    with pytest.raises(InputError, match="teacher 'vit'.*weights"):
        check_same(saved, now)


@pytest.mark.parametrize("uri", REFINED)
def test_a_run_of_an_earlier_version_goes_on_where_fingerprints_cover_more_now(
    recipe: dict[str, Any], uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    saved, now = identities(recipe, uri)
    del saved["prints"]
    check_same(saved, now)
    assert len(caplog.messages) == 1
    assert re.search("teacher vit: .*earlier version", caplog.text)


def test_of_other_teachers_they_cover_what_they_did(recipe: dict[str, Any]) -> None:
    saved, now = identities(recipe, "timm:test_vit")
    del saved["prints"]
    with pytest.raises(InputError, match="other weights"):
        check_same(saved, now)


SHORT = {
    "projector": "ladder",
    "standardize": {"type": "ema", "floor": 0.1},
    "weighting": "gradnorm",
    "loss": {"cosine": 1, "queue_kl": 0.5},
    "teachers.models.cnn.loss": {"queue_kl": 1},
}
LONG = {
    "projector": {"type": "ladder", "blocks": "all", "norm": "none", "shared": False, "hidden_dim": None},
    "standardize": {"type": "ema", "momentum": [1.0, 0.001], "floor": 0.1},
    "weighting": {"type": "gradnorm", "alpha": 1.5},
    "loss": {"queue_kl": {"weight": 0.5, "length": 4096}, "cosine": {"weight": 1.0}},
    "teachers.models.cnn.loss": {"queue_kl": {"length": 4096}},
}


def tree_of(recipe: dict[str, Any], *overrides: dict[str, Any]) -> dict[str, Any]:
    lines = [f"{key}={json.dumps(value)}" for each in overrides for key, value in each.items()]
    return load_recipe(recipe, lines).model_dump(mode="json")


def test_a_recipe_with_defaults_written_out_is_the_same(recipe: dict[str, Any]) -> None:
    short, long = tree_of(recipe, SHORT), tree_of(recipe, LONG)
    for saved, now in ((short, long), (long, short)):
        check_recipe(saved, now, "resume")


def test_a_run_goes_on_with_defaults_written_out(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {"trackers": {}, "train": recipe["train"] | {"steps": 2}}
    for words in (SHORT, LONG, SHORT):
        lines = [f"{key}={json.dumps(value)}" for key, value in words.items()]
        fit(load_recipe(recipe, lines), tmp_path / "run", resume=True, console=Console(quiet=True))
        assert [row["step"] for row in read_metrics(tmp_path / "run")] == [1, 2]


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"projector": {"type": "ladder", "hidden_dim": 8}}, "'projector.hidden_dim' was None .* is 8 now"),
        ({"projector": {"type": "ladder", "blocks": "last"}}, "'projector.blocks' was 'all' .* is 'last' now"),
        ({"projector": "mlp"}, "'projector.type' was 'ladder'"),
        ({"standardize": {"type": "ema", "floor": 0}}, "'standardize.floor' was 0.1 .* is 0 now"),
        ({"standardize": "ema"}, "'standardize.floor' was 0.1"),
        ({"weighting": {"type": "gradnorm", "alpha": 2}}, "'weighting.alpha' was 1.5 .* is 2 now"),
        ({"weighting": "uniform"}, "'weighting.type' was 'gradnorm'"),
        ({"loss": {"cosine": {"weight": 2}, "queue_kl": 0.5}}, "'loss.cosine.weight' was 1.0 .* is 2.0 now"),
        ({"loss": {"cosine": 1, "queue_kl": {"weight": 0.5, "length": 8}}}, "'loss.queue_kl.length' was 4096 .* is 8"),
        ({"loss": {"cosine": 1, "queue_kl": {}}}, "'loss.queue_kl.weight' was 0.5 .* is 1.0 now"),
        ({"loss": {"cosine": 1}}, "'loss.queue_kl' was 0.5 .* is None now"),
        ({"loss": {"cosine": 1, "queue_kl": 0.5, "mse": {}}}, "'loss.mse.weight' was None .* is 1.0 now"),
        ({"teachers.models.cnn.loss": {"queue_kl": {"length": 8}}}, r"cnn.loss.queue_kl.length' was 4096 .* is 8 now"),
        ({"teachers.models.cnn.loss": None}, r"'teachers.models.cnn.loss"),
    ],
)
def test_a_real_difference_is_named(recipe: dict[str, Any], other: dict[str, Any], line: str) -> None:
    first, changed = tree_of(recipe, SHORT), tree_of(recipe, SHORT, other)
    with pytest.raises(InputError, match=line):
        check_recipe(first, changed, "resume")
    long = tree_of(recipe, LONG)
    for saved, now in ((changed, first), (long, changed), (changed, long)):
        with pytest.raises(InputError, match=f"'{next(iter(other))}"):
            check_recipe(saved, now, "resume")


def test_parts_that_cannot_be_loaded_are_compared_as_written(recipe: dict[str, Any]) -> None:
    own = {"weighting": {"type": "my_lab.mine"}, "loss": {"my_lab.huber": {"weight": 1}}}
    check_recipe(tree_of(recipe, own), tree_of(recipe, own), "resume")
    with pytest.raises(InputError, match=r"'weighting.rate' was None at the start of the run and is 2 now"):
        check_recipe(tree_of(recipe, own), tree_of(recipe, own, {"weighting.rate": 2}), "resume")


def test_a_resume_keeps_the_time_of_the_start(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does a later stage, which writes the environment again."""
    process = SimpleNamespace(device=torch.device("cpu"), num_processes=1)
    for now in ("2026-01-02 03:04:05", "2026-01-03 00:00:00"):
        monkeypatch.setattr(environment.time, "strftime", lambda _, now=now: now)
        environment.write_start(tmp_path, load_recipe(recipe), process)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "environment.json").read_text())["started"] == "2026-01-02 03:04:05"
