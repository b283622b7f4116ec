"""`benchmarks/weightings.py` at toy size, and the record that it wrote of a large step."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from unic import lookup

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def weightings(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("weightings")


def shipped(package: str) -> set[str]:
    return set(lookup.names(f"unic.{package}")) - {"base"}


def has_all(result: dict[str, Any]) -> bool:
    found = set(result["standardizers"]) - {"phi_s, its first steps"}
    return set(result["weightings"]) == shipped("weightings") and found == shipped("standardizers")


def test_every_one_is_measured(weightings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "weightings.json"
    monkeypatch.setattr(sys, "argv", ["weightings.py", "tiny", "--rounds", "1", "--out", str(out)])
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    weightings.main()
    result = json.loads(out.read_text())
    assert has_all(result)
    assert all(row["seconds"] > 0 for row in result["standardizers"].values())


def test_none_takes_five_per_cent_of_a_step() -> None:
    result = json.loads((BENCHMARKS / "results/weightings-unic-b.json").read_text())
    assert has_all(result)
    assert max(row["share_of_step"] for part in ("weightings", "standardizers") for row in result[part].values()) < 0.05
