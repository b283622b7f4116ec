"""metrics.jsonl as charts."""

from __future__ import annotations

import re
from typing import Any

import pytest

from unic.recipe.schema import load_recipe
from unic.reporting.draw.svg import Series
from unic.reporting.sections.training import last_values, loss_chart, series, training_charts


def test_nothing_but_nulls() -> None:
    assert training_charts([{"step": 1, "loss": None}], [], {}) == {"main": [], "small": []}


def test_teachers_are_found_in_the_log() -> None:
    rows = [{"step": step, "loss": 1.0, "loss/a": 0.5, "loss/b": 0.4} for step in (1, 2)]
    (chart,) = training_charts(rows, [], {})["main"]
    assert [line.name for line in chart["series"]] == ["all", "a", "b"]


def test_a_peak_makes_the_loss_logarithmic() -> None:
    flat = Series("all", "--ink", [(1, 1.0), (2, 0.5)])
    steep = Series("all", "--ink", [(1, 30.0), (2, 0.5)])
    for line, title in ((flat, "Loss"), (steep, "Loss, logarithmic")):
        chart = loss_chart([line])
        assert chart is not None
        assert chart["title"] == title
    assert re.search(r">0<", loss_chart([flat])["svg"])  # type: ignore[index]


def test_last_values_of_what_was_ever_logged() -> None:
    assert last_values([{"step": 1, "knn/a": 3.0}, {"step": 2, "loss": None}]) == {"step": 2, "knn/a": 3.0}


def test_the_last_step_right_after_a_regular_one_leaves_no_spike() -> None:
    """The rate of a single step, joined to that of twenty by the steps they stand for."""
    rows = [{"step": step, "data_wait": 0.5} for step in (1, 20, 40, 60)] + [{"step": 61, "data_wait": 0.08}]
    line = series(rows, "data_wait", "waiting", "--ink", 0)
    assert [step for step, _ in line.points] == [1, 20, 40, 61]
    assert line.values[-1] == pytest.approx((20 * 0.5 + 0.08) / 21)


@pytest.mark.parametrize("last", [{"step": 72, "loss": 9.0}, {"step": 61, "loss": None}])
def test_a_last_step_that_stands_for_many_or_for_nothing_stays(last: dict[str, Any]) -> None:
    rows = [{"step": step, "loss": 1.0} for step in (1, 20, 40, 60)] + [last]
    assert series(rows, "loss", "all", "--ink", 0).points[-1] == (last["step"], last["loss"])


def test_groups_of_a_long_line_end_with_no_small_one() -> None:
    """Of 401 points: 399 alone, and two joined; not 200 pairs and a single one."""
    rows = [{"step": step, "loss": 1.0 if step <= 400 else 5.0} for step in range(1, 402)]
    points = series(rows, "loss", "all", "--ink", 0).points
    assert len(points) == 400
    rows = [{"step": step, "loss": 1.0 if step <= 800 else 5.0} for step in range(1, 802)]
    assert series(rows, "loss", "all", "--ink", 0).points[-1][1] == pytest.approx(7 / 3)


def test_what_is_drawn_is_said_beneath_it() -> None:
    rows = [{"step": step, "loss": 1.0, "loss/a": 0.5, "cos/a/cls": 0.4, "kept/a": 0.5} for step in (1, 2)]
    notes = {chart["title"]: chart["note"] for chart in training_charts(rows, [], {})["main"]}
    assert "loss to the teacher counts" in notes["kept: share of images that count"]
    assert "both standardised" in notes["Cosine to the teacher, cls"]
    assert "all" in notes["Loss"]


@pytest.mark.parametrize(
    ("weighting", "title"),
    [
        ("teacher_dropping", "kept: share of images that count"),
        ("random_teacher", "kept: share of images that count"),
        ("gradnorm", "kept: mean weight of each teacher"),
        ("my_lab.own", "kept: mean weight of each teacher"),
    ],
)
def test_kept_is_a_share_or_a_weight(recipe: dict[str, Any], weighting: str, title: str) -> None:
    rows = [{"step": step, "kept/a": 1.25} for step in (1, 2)]
    (shown,) = training_charts(rows, ["a"], {}, load_recipe({**recipe, "weighting": {"type": weighting}}))["main"]
    assert shown["title"] == title
    assert title.split()[1] in shown["note"]


def test_looks_at_unseen_sets_have_a_chart_of_their_own() -> None:
    looks = {"knn/a": 50.0, "knn/mean": 50.0, "knn_unseen/b": 40.0, "knn_unseen/mean": 40.0}
    charts = {chart["title"]: chart for chart in training_charts([{"step": 1, **looks}], [], {})["small"]}
    seen, unseen = (charts[title]["series"] for title in list(charts)[:2])
    assert [line.name for line in seen] == ["a", "mean"]
    assert [line.name for line in unseen] == ["b", "mean"]
    assert "k-NN on unseen sets, top-1 %" in charts
