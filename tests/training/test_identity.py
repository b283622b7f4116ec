"""What makes a run the same one, also where an earlier version began it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.training import environment
from unic.training.identity import check_same

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


def test_a_resume_keeps_the_time_of_the_start(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does a later stage, which writes the environment again."""
    process = SimpleNamespace(device=torch.device("cpu"), num_processes=1)
    for now in ("2026-01-02 03:04:05", "2026-01-03 00:00:00"):
        monkeypatch.setattr(environment.time, "strftime", lambda _, now=now: now)
        environment.write_start(tmp_path, load_recipe(recipe), process)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "environment.json").read_text())["started"] == "2026-01-02 03:04:05"
