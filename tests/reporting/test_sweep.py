"""The page and the table of a sweep: balanced, self-contained, every variant in its place, at 80 columns."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from unic.recipe.references import WithReferences
from unic.reporting import write_sweep
from unic.reporting.draw.forest import Line, forest_plot
from unic.sweeps.measured import Measured, Scored
from unic.sweeps.summary import summarise
from unic.sweeps.table import as_markdown, render

HOSTILE = '<script>alert("x")&amp;'
SHIFTS = {"base": 0.0, "without ocr": -0.05, HOSTILE: 0.0, "a name that is far longer than a column": 0.06}
TASKS = ["clipart/knn", "clipart/logistic", "stamps/knn"]


def trainings(seeds: int = 3) -> list[Measured]:
    """Answers on 400 images that get more right from variant to variant."""
    draw = np.random.default_rng(0)
    hard = draw.random((len(TASKS), 400))
    found = []
    for name, shift in SHIFTS.items():
        for seed in range(seeds):
            tasks = {}
            for number, task in enumerate(TASKS):
                right = hard[number] + 0.1 * draw.standard_normal(400) < 0.6 + shift
                packed = base64.b64encode(np.packbits(right).tobytes()).decode()
                tasks[task] = Scored(
                    score=round(100 * float(right.mean()), 3), is_unseen=task.startswith("stamps"), right=packed,
                    num_images=400, images="same",
                )  # fmt: skip
            found.append(
                Measured(
                    variant=name, seed=seed, is_base=name == "base", suites={"quick": tasks}, train_s=60,
                    overrides=[] if name == "base" else [f"train.lr={shift}"],
                )
            )  # fmt: skip
    return found


def test_the_page(tmp_path: Path, outline: Callable[[str], Any]) -> None:
    runs, hidden = trainings(), WithReferences().written_as({"my sweep": "${oc.env:NAME}"})
    page = write_sweep(summarise(runs, ["base"]), runs, "my sweep", tmp_path / "page.html", hidden).read_text()
    assert "my sweep" not in page
    assert "<h1>${oc.env:NAME}</h1>" in page
    found = outline(page)
    assert found.loads == ["data:,", "#differences", "#scores", "#variants"]
    assert "<script" not in page
    assert page.count("<svg") == 2  # seen and unseen
    words = found.words()
    assert (
        "Of 3 variants, 1 is above base and 1 is below it, by the 95 % interval of the mean over seen tasks." in words
    )
    assert "12 trainings, 12 min of training in all" in words
    assert HOSTILE in words
    assert "train.lr=0.06" in words


@pytest.mark.parametrize("count", [1, 3])
def test_one_seed_is_neither_above_nor_below(tmp_path: Path, outline: Callable[[str], Any], count: int) -> None:
    """A variant that is far below the base, with one seed in common or with three."""
    runs = [one for one in trainings(3) if one.variant != "without ocr" or one.seed < count]
    summaries = summarise(runs, ["base"])
    page = write_sweep(summaries, runs, "my sweep", tmp_path / "page.html", WithReferences()).read_text()
    difference = summaries[0].rows[1].means["seen"].difference
    assert difference is not None
    assert difference.ci is not None
    assert (difference.ci[1] < 0, difference.is_below) == (True, count == 3)
    words = outline(page).words()
    if count == 1:
        assert "Of 2 variants, 1 is above base and 0 are below it" in words
        assert "1 more has one seed in common with base, which shows no difference." in words
    else:
        assert "Of 3 variants, 1 is above base and 1 is below it" in words
        assert "more ha" not in words
    assert ('class="pill below">−' in page) == (count == 3)
    single = [one for one in runs if one.seed == 0]
    page = write_sweep(summarise(single), single, "x", tmp_path / "page.html", WithReferences()).read_text()
    assert "No variant has two seeds in common with base yet" in outline(page).words()


def test_an_outlier_squeezes_no_plot() -> None:
    near = [Line(str(number), number / 10, [number / 10 - 2, number / 10 + 2], "", "level") for number in range(6)]
    alike = Line("far", 4, [3, 5], "+4.0", "above")
    far = Line("far", -32, [-35, -29], "-32.0 [-35.0, -29.0]", "below")
    plots = [forest_plot("t", [*near, *more]) for more in ([], [far], [alike])]
    places = [re.findall(r'cx="([\d.]+)"', plot)[:6] for plot in plots]
    assert places[0] == places[1] != places[2]
    assert [plot.count("<polygon") for plot in plots] == [0, 1, 0]
    assert 'points="230,' in plots[1]
    assert far.text in plots[1]


def test_the_table_at_80_columns() -> None:
    text = io.StringIO()
    Console(file=text, width=80).print(render(summarise(trainings())))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if line.strip().startswith("without ocr")]
    assert [row.count("[") for row in rows] == [1, 1]  # seen, and below it unseen
    assert "3 53.3 ± 0.7 -4.1 [" in rows[0]
    assert "not corrected for the number of variants" in " ".join(" ".join(lines).split())


def test_one_seed_says_what_its_interval_covers() -> None:
    (summary,) = summarise(trainings(1))
    assert any(note.startswith("with a single seed the interval covers test images only") for note in summary.notes())
    assert not any("Student" in note for note in summary.notes())


@pytest.mark.parametrize("seeds", [1, 3])
def test_markdown_has_a_column_for_each_task(seeds: int) -> None:
    lines = as_markdown(summarise(trainings(seeds))).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(SHIFTS)
    assert {line.replace("\\|", "").count("|") for line in table} == {2 + 1 + 2 + len(TASKS)}
    assert "seen of 2" in table[0]
