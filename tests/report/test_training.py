"""metrics.jsonl as charts."""

from __future__ import annotations

import re

from unic.report.svg import Series
from unic.report.training import last_values, loss_chart, training_charts


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
