"""Charts, scores and colours on their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unic.report.charts import MAX_POINTS, Series, line_chart, number, radar, radar_floor, thinned, ticks
from unic.report.pictures import principal_colours
from unic.report.scores import Scores, radar_chart, signed, verdict
from unic.report.training import training_charts


def test_ticks_cover_the_range() -> None:
    assert ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1]
    marks = ticks(-0.013, 0.42)
    assert marks[0] <= -0.013
    assert marks[-1] >= 0.42
    assert np.allclose(np.diff(marks), marks[1] - marks[0])


def test_thinned_keeps_gaps_and_means() -> None:
    points = [(float(step), None if step < 10 else 2.0) for step in range(4000)]
    result = thinned(points)
    assert len(result) == MAX_POINTS
    assert result[0][1] is None
    assert result[-1][1] == 2.0


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [None, 3.0], [1e-9, 2e-9], [-5.0, 1e7]])
def test_line_chart_of_odd_values(values: list[float | None]) -> None:
    svg = line_chart("x", [Series("a", "--t0", [(float(step), value) for step, value in enumerate(values)])])
    assert "nan" not in svg.lower()


def test_gap_breaks_the_line() -> None:
    svg = line_chart("x", [Series("a", "--t0", [(1, 1.0), (2, 2.0), (3, None), (4, 1.0), (5, 2.0)])])
    path = svg.split(' d="')[1].split('"')[0]
    assert path.count("M") == 2
    assert path.count("L") == 2


def test_charts_of_nothing_but_nulls() -> None:
    assert training_charts([{"step": 1, "loss": None}], [], {}) == {"main": [], "small": []}


def test_radar_shows_all_of_the_student() -> None:
    student = Series("s", "--student", [(0, -55.0), (1, 3.0), (2, 0.0)])
    teacher = Series("<t>", "--t0", [(0, 0.0), (1, -90.0), (2, None)])
    assert radar_floor(student, [teacher]) == -60
    svg = radar(["a/x", "b/x", "c/x"], student, [teacher])
    assert "s, a/x: -55.0 %" in svg
    assert "&lt;t&gt;" in svg


def test_colours_follow_the_first_component() -> None:
    ramp = np.linspace(-1, 1, 16)[:, None] * np.ones(8)
    colours = principal_colours(ramp.reshape(1, 16, 8))
    red = colours[0, :, 0].astype(int)
    assert {red[0], red[-1]} == {0, 255}
    assert (np.diff(red) >= 0).all() or (np.diff(red) <= 0).all()


def test_colours_of_narrow_tokens() -> None:
    assert principal_colours(np.zeros((2, 4, 2))).shape == (2, 4, 3)


@pytest.mark.parametrize(
    ("interval", "said"), [([0.5, 4.0], "beats"), ([-3.0, 4.0], "is level with"), ([-9.0, -2.0], "stays below")]
)
def test_verdict_follows_the_interval(interval: list[float], said: str) -> None:
    text = verdict(Scores({**_results(), "mean_gain": 1.0, "mean_gain_ci": interval}))
    assert said in text
    assert "the best single teacher, t (mean score 50.0 against 40.0)" in text


def test_verdict_beats_nothing_without_an_interval() -> None:
    text = verdict(Scores(_results()))
    assert "scores above the best teacher of each task on average: +25.0\u00a0% over 1 task (no interval)" in text
    assert "beats" not in text


def test_verdict_about_the_best_single_teacher() -> None:
    measured = {"name": "t", "difference_ci": [2.0, 18.0]}
    text = verdict(Scores({**_results(), "single_teacher": measured}))
    assert "it beats the best single teacher, t (mean score 50.0 against 40.0, difference +2.0 to +18.0)" in text
    assert "it scores above" in verdict(Scores({**_results(), "single_teacher": {**measured, "name": "another"}}))


def test_radar_needs_three_tasks() -> None:
    assert radar_chart(Scores(_results()), {"t": "--t0"}) is None


def test_numbers() -> None:
    assert signed(-1.25) == "−1.2"
    assert signed(-0.01) == "0.0"
    assert number(2.5e-4) == "2.5e-4"
    assert number(12000) == "12k"


def _results() -> dict[str, Any]:
    return {
        "models": {"s": {"role": "student"}, "t": {"role": "teacher"}},
        "tasks": {"a/knn": {"s": {"score": 50.0}, "t": {"score": 40.0}}},
        "gain_over_best_teacher": {"a/knn": 25.0},
        "mean_gain": 25.0,
    }


def test_long_names_stay_in_the_radar() -> None:
    axes = [f"a-very-long-name-{number}/logistic" for number in range(5)]
    student = Series("s", "--student", [(axis, 1.0) for axis in range(5)])
    assert "a-very-long-n…" in radar(axes, student, [])
