"""`benchmarks/parts.py` at toy size: parts add up to the step, and the backward pass is divided where it should be."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("parts")


def test_time_and_bytes_belong_to_the_part_at_work(parts: ModuleType) -> None:
    clock, x = parts.Clock(), torch.ones(1000)
    with clock.within("a"), parts.Bytes(clock):
        x.add_(1)
        clock.measured("b", lambda: x + x)()
        clock.follow("c")
        busy(0.05)
    assert clock.moved == {"a": 8000, "b": 12000}
    assert clock.seconds["c"] >= 0.05 > clock.seconds["a"] + clock.seconds["b"]
    assert clock.part == "rest"


def busy(seconds: float) -> None:
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        pass


def test_every_part_of_a_step_is_measured(
    parts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "parts.json"
    monkeypatch.setattr(sys, "argv", ["parts.py", "tiny", "--rounds", "1", "--vary", "--out", str(out)])
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    parts.main()
    found: dict[str, Any] = json.loads(out.read_text())
    seconds = {name: part["seconds"]["median"] for name, part in found["parts"].items()}
    assert tuple(seconds) == parts.PARTS
    assert min(seconds.values()) > 0
    assert sum(seconds.values()) == pytest.approx(found["seconds"]["median"])
    assert sum(part["share"]["median"] for part in found["parts"].values()) == pytest.approx(1)
    both_ways = {f"{part}/{way}" for part in ("student", "projectors", "losses") for way in ("forward", "backward")}
    assert both_ways | {"data/read", "data/views", "teachers/t0", "standardiser/update"} <= found["within"].keys()
    # Of each parameter: 4 bytes for the norm, 16 read and 16 written (the divided gradient, too) by the update.
    assert found["parts"]["optimiser"]["bytes"] == pytest.approx(36 * found["trained"], rel=0.01)
    products = {(row["what"], row["value"]): row["flop_of_step"] for row in found["varied"]}
    assert (products["images", "2"], products["images", "8"]) == (0.5, 2)
    assert products["share of patches compared", "0.25"] < 1 < products["teachers", "4"]
    assert "| teachers |" in capsys.readouterr().out
