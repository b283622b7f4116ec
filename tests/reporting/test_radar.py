"""The radar and what its axes are."""

from __future__ import annotations

import re
from typing import Any

import pytest

from unic.eval.results.schema import Results
from unic.reporting.draw.looks import Looks
from unic.reporting.draw.radar import radar, radar_floor
from unic.reporting.draw.svg import Series
from unic.reporting.read.scores import Scores
from unic.reporting.sections.gains import gains_by_axis, radar_chart


def test_shows_all_of_the_student() -> None:
    student = Series("s", "--student", [(0, -55.0), (1, 3.0), (2, 0.0)])
    teacher = Series("<t>", "--t0", [(0, 0.0), (1, -90.0), (2, None)])
    assert radar_floor([student], [teacher]) == -60
    svg = radar(["a/x", "b/x", "c/x"], [student], [teacher])
    assert "s, a/x: -55.0 %" in svg
    assert "&lt;t&gt;" in svg


@pytest.mark.parametrize("count", [5, 40])
def test_names_stay_in_the_box(count: int) -> None:
    """By the width of 7.4 a letter; those of a crowded radar lie along its axes."""
    axes = [f"a-very-long-name-{number}/logistic" for number in range(count)]
    svg = radar(axes, [Series("s", "--student", [(axis, 1.0) for axis in range(count)])])
    left, top, width, height = map(float, re.findall(r'viewBox="([^"]*)"', svg)[0].split())
    if count == 5:
        assert "a-very-long-n…" in svg
        return
    radius = max(float(r) for r in re.findall(r' r="([^"]*)" class="ring', svg))
    assert width == height
    assert left + width / 2 == pytest.approx(230)
    assert top + height / 2 == pytest.approx(190)
    assert width / 2 >= radius + 8 + 7.4 * max(map(len, re.findall(r">(a-very[^<]*)</tspan>", svg)))


def _results(tasks: list[str], **more: Any) -> dict[str, Any]:
    models = {"s": {"role": "student"}, "t": {"role": "teacher"}, "u": {"role": "teacher"}}
    scores = {"s": {"score": 50.0}, "t": {"score": 40.0}, "u": {"score": 30.0}}
    return {
        "models": models, "tasks": dict.fromkeys(tasks, scores), "gain_over_best_teacher": dict.fromkeys(tasks, 25.0),
        **more,
    }  # fmt: skip


def test_needs_three_tasks() -> None:
    for count, is_there in ((2, False), (3, True)):
        scores = Scores(Results.load(_results([f"{number}/knn" for number in range(count)])))
        assert bool(radar_chart(scores, Looks.of(scores))) == is_there


def test_an_axis_is_a_task() -> None:
    axis_is, by_axis = gains_by_axis(Scores(Results.load(_results(["a/knn", "b/knn", "c/knn"]))))
    assert axis_is == "a task"
    assert by_axis["b/knn"] == {"s": 25.0, "t": 0.0, "u": -25.0}


def test_axes_of_the_suite_where_there_are_three() -> None:
    axes = {name: {"tasks": [], "best_teacher": "t", "gains": {"s": 1.0, "t": 0.0}} for name in "xyz"}
    axis_is, by_axis = gains_by_axis(Scores(Results.load(_results(["a/knn", "b/knn", "c/knn"], axes=axes))))
    assert axis_is == "a group of tasks"
    assert by_axis == {name: {"s": 1.0, "t": 0.0} for name in "xyz"}
    axes.pop("z")
    assert gains_by_axis(Scores(Results.load(_results(["a/knn", "b/knn", "c/knn"], axes=axes))))[0] == "a task"


def test_many_tasks_are_averaged_by_set() -> None:
    results = _results([f"set{number}/{task}" for number in range(9) for task in ("knn", "logistic")])
    results["gain_over_best_teacher"]["set3/knn"] = -5.0
    axis_is, by_axis = gains_by_axis(Scores(Results.load(results)))
    assert axis_is.startswith("a set")
    assert len(by_axis) == 9
    assert by_axis["set3"]["s"] == 10.0


def test_errors_turn_the_sign() -> None:
    task = "d/depth"
    scores = Scores(Results.load(_results([task], measures={task: {"name": "RMSE m", "lower_is_better": True}})))
    assert scores.best_teacher == {task: "u"}
    assert scores.gain(task, "t") == pytest.approx(-100 / 3)


def test_only_seen_tasks_have_an_axis() -> None:
    tasks = ["a/knn", "b/knn", "c/knn", "f/knn"]
    scores = Scores(Results.load(_results(tasks, unseen=["f/knn"])))
    axis_is, by_axis = gains_by_axis(scores)
    assert (axis_is, list(by_axis)) == ("a task", tasks[:3])
    drawn = radar_chart(scores, Looks.of(scores))
    assert drawn is not None
    assert drawn["axis_is"].startswith("a task")
    axes = {name: {"tasks": [f"{name}/knn"], "gains": {"s": 1.0}} for name in "abcf"}
    axis_is, by_axis = gains_by_axis(Scores(Results.load(_results(tasks, unseen=["f/knn"], axes=axes))))
    assert (axis_is, list(by_axis)) == ("a group of tasks", ["a", "b", "c"])
