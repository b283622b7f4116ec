"""What a run with stages shows at its end is its last stage's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from unic import api
from unic.api import finish
from unic.metrics import read_metrics


def test_the_last_stage_is_evaluated(recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its teachers are the rows, and its teacher cache is where their features are found."""
    larger = {"vit": "timm:test_vit?pretrained=false&img_size=64", "cnn": recipe["teachers"]["models"]["cnn"]}
    cache = {"dir": str(tmp_path / "cache"), "views": 1}
    later = {"teachers": {"models": larger, "cache": cache}, "data.size": 64}
    recipe |= {"stages": [{"train.steps": 1}, later], "eval": {"suite": "quick"}, "trackers": {}}
    recipe["train"]["steps"] = 2
    asked: dict[str, Any] = {}

    def evaluated(named: dict[str, str], roles: dict[str, str], **options: Any) -> dict[str, Any]:
        asked.update(options, named=named, roles=roles)
        return {}

    monkeypatch.setattr(api, "evaluate_models", evaluated)
    api.distill(recipe, out=tmp_path / "run", console=Console(quiet=True))
    assert {name: asked["named"][name] for name, role in asked["roles"].items() if role == "teacher"} == larger
    assert asked["cache"] == Path(cache["dir"])


def test_no_test_image_is_opened_while_a_run_trains(
    recipe: dict[str, Any], image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there at the start, where it is only listed, and at the end; between them there is no test part."""
    test, fit = tmp_path / "set/test", api.fit
    monkeypatch.setattr(api, "fit", lambda *args, **options: test.unlink() or fit(*args, **options))
    monkeypatch.setattr(api, "finish", lambda *_: test.symlink_to(image_folder) or finish(*_))
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train").symlink_to(image_folder)
    test.symlink_to(image_folder)
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"data: ['blobs={tmp_path}/set?overlap=allow']\ntasks: {{knn: {{k: 3}}}}\nsize: 32\n")
    recipe |= {"eval": {"suite": str(suite), "every": 4, "patience": 5}, "trackers": {}}
    recipe["checkpoint"] |= {"best": "knn/mean"}
    api.distill(recipe, out=tmp_path / "run", console=Console(quiet=True))
    assert [set(row) for row in read_metrics(tmp_path / "run") if "knn/blobs" in row] == [
        {"step", "knn/blobs", "knn/mean"}
    ] * 2
    assert "blobs/knn" in json.loads((tmp_path / "run/results.json").read_text())["tasks"]
