"""Line charts: odd values, gaps, logarithmic scales, ticks."""

from __future__ import annotations

import re

import numpy as np
import pytest

from unic.reporting.draw.charts import Scale, line_chart
from unic.reporting.draw.svg import MAX_POINTS, Series, log_ticks, number, thinned, ticks


def test_ticks_cover_the_range() -> None:
    assert ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1]
    marks = ticks(-0.013, 0.42)
    assert marks[0] <= -0.013
    assert marks[-1] >= 0.42
    assert np.allclose(np.diff(marks), marks[1] - marks[0])


def test_logarithmic_ticks_lie_within() -> None:
    assert log_ticks(1, 1000) == [1, 10, 100, 1000]
    assert log_ticks(0.15, 6) == [0.2, 0.5, 1, 2, 5]
    assert len(log_ticks(1e-12, 1)) <= 7


def test_logarithmic_axis_spaces_decades_alike() -> None:
    axis = Scale(0.01, 100, 0, 400, is_log=True)
    assert [axis.place(value) for value in (0.01, 0.1, 1, 10, 100)] == [0, 100, 200, 300, 400]


def test_thinned_keeps_gaps_and_means() -> None:
    points = [(float(step), None if step < 10 else 2.0) for step in range(4000)]
    result = thinned(points)
    assert len(result) == MAX_POINTS
    assert result[0][1] is None
    assert result[-1][1] == 2.0


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("values", [[1.0], [0.5, 0.5], [None, 3.0], [1e-9, 2e-9], [1e-3, 1e7]])
def test_line_chart_of_odd_values(values: list[float | None], is_log: bool) -> None:
    line = Series("a", "--t0", [(float(step), value) for step, value in enumerate(values, start=1)])
    svg = line_chart("x", [line], log_x=is_log, log_y=is_log)
    assert "nan" not in svg.lower()


def test_logarithmic_chart_leaves_out_what_has_no_logarithm() -> None:
    line = Series("a", "--t0", [(0, 1.0), (1, 10.0), (2, 0.0), (3, 1.0), (4, 2.0)])
    path = re.findall(r' d="([^"]*)"', line_chart("x", [line], log_x=True, log_y=True))[0]
    assert path.count("M") == 2
    assert path.count("L") == 1


def test_gap_breaks_the_line() -> None:
    svg = line_chart("x", [Series("a", "--t0", [(1, 1.0), (2, 2.0), (3, None), (4, 1.0), (5, 2.0)])])
    path = svg.split(' d="')[1].split('"')[0]
    assert path.count("M") == 2
    assert path.count("L") == 2


def test_numbers() -> None:
    assert number(2.5e-4) == "2.5e-4"
    assert number(12000) == "12k"
