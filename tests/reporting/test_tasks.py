"""Task by task: dots with intervals, in groups; colours and markers that stay apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from unic.eval.results.schema import Results
from unic.reporting.draw import svg
from unic.reporting.draw.dots import Dot, dot_chart
from unic.reporting.draw.looks import Looks
from unic.reporting.draw.svg import NUM_COLOURS, Series
from unic.reporting.read.scores import Scores
from unic.reporting.sections.tasks import task_groups


def _scores(tasks: dict[str, float], **more: Any) -> Scores:
    models = {"s": {"role": "student"}, "t": {"role": "teacher"}}
    entries = {task: {"s": {"score": x, "ci": [x - 1, x + 1]}, "t": {"score": x - 5}} for task, x in tasks.items()}
    entries |= more
    return Scores(Results.load({"models": models, "tasks": entries}))


def test_groups_of_the_same_probe() -> None:
    scores = _scores({"a/knn": 50, "b/knn": 60, "a/logistic": 70, "b/logistic": 80, "c/depth": 90})
    groups = task_groups(scores, Looks.of(scores))["groups"]
    assert [group["title"] for group in groups] == ["knn", "logistic", "further tasks"]
    assert [panel["title"] for panel in groups[2]["panels"]] == ["c/depth"]
    assert all(group["open"] for group in groups)


def test_an_entry_of_a_suite_may_have_a_slash_in_its_name() -> None:
    scores = _scores({"a/knn": 50, "b/knn": 60, "a/mine/knn": 70, "b/mine/knn": 80, "a/near/knn": 90})
    groups = task_groups(scores, Looks.of(scores))["groups"]
    assert [group["title"] for group in groups] == ["knn", "mine/knn", "further tasks"]
    assert [[panel["title"] for panel in group["panels"]] for group in groups] == [
        ["a", "b"],
        ["a", "b"],
        ["a/near/knn"],
    ]


def test_many_tasks_are_folded() -> None:
    scores = _scores({f"set{number}/{kind}": 50 for kind in ("knn", "logistic") for number in range(20)})
    assert [group["open"] for group in task_groups(scores, Looks.of(scores))["groups"]] == [True, False]


def test_a_task_without_scores_has_no_panel() -> None:
    scores = _scores({"a/knn": 50, "b/knn": 60}, **{"b/knn": {"s": {"error": "no"}}})
    assert [panel["title"] for panel in task_groups(scores, Looks.of(scores))["groups"][0]["panels"]] == ["a"]


def test_dots_lie_in_their_intervals() -> None:
    dots = [
        Dot(Series("<s>", "--student", []), 50.0, "50.0", "student", [48.0, 53.0]),
        Dot(Series("t", "--t0", [], 1), 40.0, "40.0", "to-beat", None),
    ]
    drawn = dot_chart("a", dots)
    assert "&lt;s&gt;: 50.0, 95 % interval 48 to 53" in drawn
    low, high = (float(x) for x in re.findall(r'<line x1="([^"]*)" x2="([^"]*)"[^>]*class="whisker"', drawn)[0])
    dot = float(re.findall(r'<circle cx="([^"]*)"', drawn)[0])
    assert low < dot < high
    assert (dot - low) / (high - dot) == pytest.approx(2 / 3, rel=0.05)
    assert len(re.findall('class="bar"', drawn)) == 1
    assert len(re.findall('class="whisker"', drawn)) == 3


def test_equal_scores_without_intervals() -> None:
    dots = [Dot(Series(name, "--t0", []), 0.0, "0.0", "teacher") for name in "ab"]
    assert "nan" not in dot_chart("a", dots).lower()


def test_thirty_teachers_look_different() -> None:
    models = {f"t{number}": {"role": "teacher"} for number in range(30)}
    looks = Looks.of(Scores(Results.load({"models": models, "tasks": {}})))
    series = looks.legend(list(models))
    assert len({(line.colour, line.dash) for line in series}) == 30
    assert len({line.colour for line in series[:NUM_COLOURS]}) == NUM_COLOURS


def test_style_sheet_has_all_colours_twice() -> None:
    """Once for light and once for dark pages."""
    style = (Path(svg.__file__).parents[1] / "parts" / "style.css").read_text()
    for number in range(NUM_COLOURS):
        assert len(re.findall(rf"--t{number}: #[0-9a-f]{{6}};", style)) == 2


def test_recipe_teachers_keep_their_colours() -> None:
    models = {"s": {"role": "student"}, "b": {"role": "teacher"}, "a": {"role": "teacher"}, "px": {"role": "pixels"}}
    looks = Looks.of(Scores(Results.load({"models": models, "tasks": {}})), ["a", "c", "b"])
    assert looks.colour == {"student": "--student", "s": "--student", "a": "--t0", "c": "--t1", "b": "--t2"}
    assert len(set(looks.style.values())) == len(looks.style)
    assert looks.series("px").colour == "--soft"
