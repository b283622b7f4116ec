"""The verdict, the figures and the table."""

from __future__ import annotations

from typing import Any

import pytest

from unic.report.facts import parameters, protocol_line
from unic.report.scores import Scores, signed
from unic.report.table import table
from unic.report.verdict import figures, verdict


def _results() -> dict[str, Any]:
    return {
        "models": {"s": {"role": "student"}, "t": {"role": "teacher"}},
        "tasks": {"a/knn": {"s": {"score": 50.0}, "t": {"score": 40.0}}},
        "gain_over_best_teacher": {"a/knn": 25.0},
        "mean_gain": 25.0,
    }


def _mixed() -> dict[str, Any]:
    """Two tasks in top-1 and one in metres, where the student is better as well."""
    return {
        "models": {"s": {"role": "student"}, "t": {"role": "teacher"}, "u": {"role": "teacher"}},
        "tasks": {
            "a/knn": {"s": {"score": 50.0}, "t": {"score": 40.0}, "u": {"score": 30.0}},
            "b/knn": {"s": {"score": 60.0}, "t": {"score": 50.0}, "u": {"score": 30.0}},
            "d/depth": {"s": {"score": 0.4}, "t": {"score": 0.5}, "u": {"score": 0.8}},
        },
        "measures": {"d/depth": {"name": "RMSE m", "lower_is_better": True}},
        "gain_over_best_teacher": {"a/knn": 25.0, "b/knn": 20.0, "d/depth": 20.0},
        "mean_gain": 65 / 3,
    }


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


def test_verdict_averages_one_measure() -> None:
    text = verdict(Scores(_mixed()))
    assert "t (mean top-1\u00a0% over 2 tasks 55.0 against 45.0)" in text


def test_verdict_of_several_measures_takes_the_mean_that_was_measured() -> None:
    measured = {"name": "u", "score": 41.0, "student": 55.5, "difference_ci": [3.0, 9.0]}
    text = verdict(Scores({**_mixed(), "single_teacher": measured}))
    assert "it beats the best single teacher, u (mean of the tasks in\u00a0% 55.5 against 41.0" in text


def test_verdict_on_errors_prefers_the_lower() -> None:
    results = {key: value for key, value in _mixed().items() if key != "gain_over_best_teacher"}
    results["tasks"] = {"d/depth": results["tasks"]["d/depth"]}
    text = verdict(Scores(results))
    assert "it scores above the best single teacher, t (mean score 0.4 against 0.5)" in text
    assert figures(Scores(results))[1]["value"] == "0.4"


def test_table_says_units_where_they_differ() -> None:
    made = table(Scores(_mixed()), {})
    assert [row["unit"] for row in made["rows"]] == ["", "", "RMSE m ↓"]
    assert [cell["text"] for cell in made["rows"][2]["cells"]] == ["0.4", "0.5", "0.8"]
    assert [cell["is_best"] for cell in made["rows"][2]["cells"]] == [False, True, False]
    means = {row["label"]: [cell["text"] for cell in row["cells"]] for row in made["foot"]}
    assert means == {"mean of knn": ["55.0", "45.0", "30.0"], "mean gain": ["+21.7 %", "", ""]}


def test_table_has_axes_and_ranks() -> None:
    axis = {
        "tasks": ["a/knn"],
        "best_teacher": "t",
        "gains": {"s": 25.0, "t": 0.0, "u": -25.0},
        "gain": 25.0,
        "ci": [2, 40],
    }
    made = table(Scores({**_mixed(), "axes": {"near": axis}, "ranks": {"s": 1.0, "t": 2.0}}), {})
    rows = {row["label"]: row for row in made["foot"]}
    assert [cell["text"] for cell in rows["near, gain"]["cells"]] == ["+25.0 %", "0.0 %", "−25.0 %"]
    assert rows["near, gain"]["gain"] == {"text": "+25.0 %", "ends": "+2.0 to +40.0 %", "outcome": "above"}
    assert [cell["text"] for cell in rows["mean rank"]["cells"]] == ["1.0", "2.0", ""]


def test_signed() -> None:
    assert signed(-1.25) == "−1.2"
    assert signed(-0.01) == "0.0"
    assert signed(-0.0123, "RMSE m") == "−0.0123"


def test_many_teachers_share_a_line() -> None:
    models = {"s": {"role": "student", "num_parameters": 1e6}}
    models |= {f"t{n}": {"role": "teacher", "num_parameters": n * 1e6} for n in range(1, 8)}
    found = parameters(Scores({"models": models, "tasks": {}}), {})
    assert [(entry["name"], entry["size"]) for entry in found] == [("s", "1.0 M"), ("7 teachers", "1.0 M to 7.0 M")]


def test_protocol_in_one_line() -> None:
    protocol = {"tasks": {"knn": {"k": 5}, "influence": {"data": ["a", "b"]}}, "seeds": [0, 1], "size": 96}
    assert protocol_line({"protocol": protocol}) == "knn k=5; influence data=a,b; 2 seeds; images at 96 px"


def test_intervals_of_an_older_file_are_told_apart() -> None:
    old = {"protocol": {"bootstrap": {"resamples": 1000, "level": 95, "unit": "test image"}}}
    new = {"protocol": {"bootstrap": {"resamples": 1000, "level": 95, "over_teachers": "simultaneous"}}}
    assert Scores({**_results(), **old}).holds_best_teacher_fixed
    assert not Scores({**_results(), **new}).holds_best_teacher_fixed
    assert not Scores(_results()).holds_best_teacher_fixed, "nothing is said of how it was measured"
