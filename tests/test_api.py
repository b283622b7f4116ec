"""What a run with stages shows at its end is its last stage's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from unic import api


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
