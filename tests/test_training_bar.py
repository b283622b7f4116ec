"""On a terminal a training is a bar with the newest numbers below it; elsewhere it is lines."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from unic.recipe.schema import load_recipe
from unic.runs.metrics import MetricsLog
from unic.training.train import fit


@pytest.mark.parametrize("width", [80, 100])
def test_a_bar_and_the_newest_numbers_fit_the_terminal(tmp_path: Path, width: int) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None)
    numbers = {"loss": 0.5, "loss/teacher_of_a_long_name": 0.4, "cos/teacher_of_a_long_name/cls": 0.25}
    numbers |= {"kept/teacher_of_a_long_name": 0.75, "images_per_s": 120.0, "data_wait": 0.1}
    with MetricsLog(tmp_path, 0, 300, console) as metrics:
        metrics.advance(30)
        metrics.write(30, numbers)
        metrics.advance(150)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", screen.getvalue()).splitlines()
    shown = [line for line in lines if "/300" in line]
    assert any("150/300" in line and "50%" in line for line in shown)
    assert any("step 30/300 · loss 0.5000 · cos teacher_of_a_long_name 0.25" in line for line in lines)
    said = " ".join("\n".join(lines).split())
    assert "kept 75% · 120 img/s · wait 10%" in said  # no number is cut off
    assert "ETA" not in said  # the bar says how much is left; two numbers would differ
    assert max(map(len, lines)) == width


def test_a_terminal_that_is_gone_ends_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    with MetricsLog(tmp_path, 0, 10, Console(file=Gone(), force_terminal=True)) as metrics:
        metrics.advance(1)
        metrics.write(1, {"loss": 1.0})
    assert "screen cannot be written (Input/output error)" in capsys.readouterr().err
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 1


def test_what_is_built_and_what_is_resumed_is_told(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {"trackers": {}}

    def said(steps: int, **options: bool) -> list[str]:
        screen = io.StringIO()
        fit(load_recipe(recipe, [f"train.steps={steps}"]), tmp_path / "run", console=Console(file=screen), **options)
        return screen.getvalue().splitlines()

    lines = said(4)
    begins = [
        "teacher vit: timm:test_vit",
        "teacher cnn: timm:test_eff",
        "student: timm:test_vit",
        "projectors: ladder",
    ]
    for begin, line in zip(begins, [line for line in lines if not line.startswith("  ")], strict=False):
        assert line.startswith(begin)
    assert "images: 40; 4 steps of 8 (5 an epoch, 0.8 epochs)" in lines
    assert "device: cpu, 1 thread" in lines
    assert not any(line.startswith("resumed") for line in lines)
    resumed = " ".join(" ".join(said(4, resume=True)).split())
    assert re.search(f"resumed .*checkpoints/step-4 of {tmp_path / 'run'}", resumed)


def test_on_a_terminal_long_lines_go_on_below_their_text(recipe: dict[str, Any], tmp_path: Path) -> None:
    screen = io.StringIO()
    recipe |= {"trackers": {}}
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    fit(load_recipe(recipe, ["train.steps=1"]), tmp_path / "run", console=console)
    first, second, *_ = screen.getvalue().splitlines()
    assert first.startswith("teacher vit: timm:test_vit")
    assert len(first) <= 80
    assert second.startswith(" " * 13)
    assert second.strip()
