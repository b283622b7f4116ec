"""The verdict, the figures and the table."""

from __future__ import annotations

import re
from typing import Any

import pytest

from unic.eval.results.schema import Protocol, Results
from unic.reporting.read.scores import Scores, signed
from unic.reporting.sections.facts import parameters, protocol_line
from unic.reporting.sections.table import table
from unic.reporting.sections.verdict import figures, verdict


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
    text = verdict(Scores(Results.load({**_results(), "mean_gain": 1.0, "mean_gain_ci": interval})))
    assert said in text
    assert re.search(r"\bt \(.*50\.0 .*40\.0\)", text)


def test_verdict_beats_nothing_without_an_interval() -> None:
    text = verdict(Scores(Results.load(_results())))
    assert re.search(r"scores above .*\+25\.0\u00a0% over 1 task", text)
    assert "beats" not in text


def test_verdict_about_the_best_single_teacher() -> None:
    measured = {"name": "t", "score": 40.0, "student": 50.0, "difference_ci": [2.0, 18.0]}
    text = verdict(Scores(Results.load({**_results(), "single_teacher": measured})))
    assert re.search(r"beats .*\bt \(.*50\.0 .*40\.0, .*\+2\.0 to \+18\.0\)", text)
    assert "scores above" in verdict(
        Scores(Results.load({**_results(), "single_teacher": {**measured, "name": "another"}}))
    )


def test_verdict_averages_one_measure() -> None:
    text = verdict(Scores(Results.load(_mixed())))
    assert "t (mean top-1\u00a0% over 2 tasks 55.0 against 45.0)" in text


def test_verdict_of_several_measures_takes_the_mean_that_was_measured() -> None:
    measured = {"name": "u", "score": 41.0, "student": 55.5, "difference_ci": [3.0, 9.0]}
    text = verdict(Scores(Results.load({**_mixed(), "single_teacher": measured})))
    assert re.search(r"beats .*\bu \(.*55\.5 .*41\.0", text)


def test_verdict_on_errors_prefers_the_lower() -> None:
    results = {key: value for key, value in _mixed().items() if key != "gain_over_best_teacher"}
    results["tasks"] = {"d/depth": results["tasks"]["d/depth"]}
    text = verdict(Scores(Results.load(results)))
    assert re.search(r"scores above .*\bt \(.*0\.4 .*0\.5\)", text)
    assert figures(Scores(Results.load(results)))[1]["value"] == "0.4"


def test_table_says_units_where_they_differ() -> None:
    made = table(Scores(Results.load(_mixed())), {})
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
    made = table(Scores(Results.load({**_mixed(), "axes": {"near": axis}, "ranks": {"s": 1.0, "t": 2.0}})), {})
    rows = {row["label"]: row for row in made["foot"]}
    assert [cell["text"] for cell in rows["near, gain"]["cells"]] == ["+25.0 %", "0.0 %", "−25.0 %"]
    assert rows["near, gain"]["gain"] == {"text": "+25.0 %", "ends": "+2.0 to +40.0 %", "outcome": "above"}
    assert [cell["text"] for cell in rows["mean rank"]["cells"]] == ["1.0", "2.0", ""]


def test_an_axis_over_several_tasks_has_its_mean_and_members() -> None:
    results = _mixed()
    results["tasks"]["c/logistic"] = {name: {"score": 20.0} for name in ("s", "t", "u")}
    axis = {"tasks": ["a/knn", "c/logistic"], "best_teacher": "t", "gains": {"s": 25.0, "t": 0.0}, "gain": 25.0}
    made = table(Scores(Results.load({**results, "axes": {"transfer": axis}})), {})
    means = {row["label"]: [cell["text"] for cell in row["cells"]] for row in made["foot"]}
    scores = [results["tasks"]["a/knn"][name]["score"] for name in ("s", "t", "u")]
    assert means["mean of transfer"] == [f"{(score + 20) / 2:.1f}" for score in scores]
    assert made["axes"] == {"transfer (2 tasks)": "a (knn); c (logistic)"}


def test_signed() -> None:
    assert signed(-1.25) == "−1.2"
    assert signed(-0.01) == "0.0"
    assert signed(-0.0123, "RMSE m") == "−0.0123"


def test_many_teachers_share_a_line() -> None:
    models = {"s": {"role": "student", "num_parameters": 1_000_000}}
    models |= {f"t{n}": {"role": "teacher", "num_parameters": n * 1_000_000} for n in range(1, 8)}
    found = parameters(Scores(Results.load({"models": models, "tasks": {}})), {})
    assert [(entry["name"], entry["size"]) for entry in found] == [("s", "1.0 M"), ("7 teachers", "1.0 M to 7.0 M")]


def test_protocol_in_one_line() -> None:
    protocol = {"tasks": {"knn": {"k": 5}, "influence": {"data": ["a", "b"]}}, "seeds": [0, 1], "size": 96}
    assert protocol_line(Protocol.model_validate(protocol)) == "knn k=5; influence data=a,b; 2 seeds; images at 96 px"


def test_intervals_of_an_older_file_are_told_apart() -> None:
    old = {"protocol": {"bootstrap": {"resamples": 1000, "level": 95, "unit": "test image"}}}
    new = {"protocol": {"bootstrap": {"resamples": 1000, "level": 95, "over_teachers": "simultaneous"}}}
    assert Scores(Results.load({**_results(), **old})).holds_best_teacher_fixed
    assert not Scores(Results.load({**_results(), **new})).holds_best_teacher_fixed
    assert not Scores(Results.load(_results())).holds_best_teacher_fixed, "nothing is said of how it was measured"


def _with_unseen(**more: Any) -> dict[str, Any]:
    """Two seen tasks and a third one that is not, on which the student loses what it wins on the others."""
    results = _mixed()
    results["tasks"]["f/knn"] = {"s": {"score": 30.0}, "t": {"score": 60.0}, "u": {"score": 20.0}}
    results["gain_over_best_teacher"]["f/knn"] = -50.0
    for task in ("d/depth",):
        del results["tasks"][task], results["gain_over_best_teacher"][task]
    means = {"mean_gain": 22.5, "mean_gain_ci": [2.0, 40.0], "mean_gain_unseen": -50.0}
    return {**results, "measures": {}, "unseen": ["f/knn"], **means, "mean_gain_unseen_ci": [-60.0, -30.0], **more}


def test_verdict_names_both_mean_gains() -> None:
    seen, unseen, single = verdict(Scores(Results.load(_with_unseen()))).replace("\u00a0", " ").split("; ")
    assert re.search(r"beats .*seen sets: \+22\.5 % over 2 tasks \(.*\+2\.0 to \+40\.0 %\)", seen)
    assert re.search(r"unseen sets .*below.*: −50\.0 % over 1 task \(.*−60\.0 to −30\.0 %\)", unseen)
    assert re.search(r"seen sets .*scores above .*\bt \(.*55\.0 .*45\.0\)", single)
    first, second, third = verdict(Scores(Results.load(_with_unseen(mean_gain=None, mean_gain_ci=None)))).split("; ")
    assert re.search("below .*unseen sets: −50.0", first)
    assert re.search("on seen .*not be measured", second)
    assert re.search("on seen .*scores above", third)
    unknown = verdict(Scores(Results.load(_with_unseen(mean_gain_unseen=None, mean_gain_unseen_ci=None))))
    assert "+22.5" in unknown
    assert re.search("on unseen [^;]*not be measured; on seen", unknown)


def test_figures_have_both_and_count_seen_tasks() -> None:
    known = {"difference_ci": {"a/knn": [1.0, 2.0], "b/knn": [-1.0, 2.0], "f/knn": [-9.0, -2.0]}}
    found = {figure["label"]: figure for figure in figures(Scores(Results.load(_with_unseen(**known))))}
    assert found["Mean gain (seen)"]["value"] == "+22.5 %"
    assert (found["Mean gain (unseen)"]["value"], found["Mean gain (unseen)"]["kind"]) == ("−50.0 %", "below")
    assert (found["Mean score (seen)"]["value"]) == "55.0"
    above = found["Seen tasks above the best teacher"]
    assert (above["value"], above["note"]) == ("1 of 2", "1 level, 0 below")


def test_table_marks_unseen_tasks_and_its_means_say_what_they_count() -> None:
    axes = {
        name: {"tasks": tasks, "best_teacher": "t", "gains": {"s": 1.0, "t": 0.0}, "gain": 1.0, "ci": [0.5, 2.0]}
        for name, tasks in {"near": ["a/knn"], "far": ["f/knn"]}.items()
    }
    gains = {"mean_gains_unseen": {"s": {"gain": -50.0, "ci": [-60.0, -30.0]}}}
    made = table(Scores(Results.load(_with_unseen(axes=axes, ranks={"s": 1.0}, **gains))), {})
    assert [(row["task"], row["unit"]) for row in made["rows"]] == [("a/knn", ""), ("b/knn", ""), ("f/knn", "unseen")]
    assert made["unseen"] == "f"
    foot = {row["label"]: row for row in made["foot"]}
    assert list(foot) == [
        "mean of all (seen)", "near (seen), gain", "far (unseen), gain", "mean gain (seen)", "mean gain (unseen)",
        "mean rank (seen)",
    ]  # fmt: skip
    assert [cell["text"] for cell in foot["mean of all (seen)"]["cells"]] == ["55.0", "45.0", "30.0"]
    assert foot["mean gain (unseen)"]["gain"] == {"text": "−50.0 %", "ends": "−60.0 to −30.0 %", "outcome": "below"}


def test_nothing_but_unseen_tasks_is_shown_too() -> None:
    """Sets that were left out because they are not here may have been all the seen ones."""
    results = _with_unseen(mean_gain=None, mean_gain_ci=None)
    results["tasks"] = {"f/knn": results["tasks"]["f/knn"]}
    scores = Scores(Results.load(results))
    assert table(scores, {})["unit"] == "top-1 %"
    assert [figure["label"] for figure in figures(scores)] == ["Mean gain (unseen)"]
    assert "on unseen sets" in verdict(scores)


def test_protocol_tells_how_unseen_sets_were_measured() -> None:
    protocol = {"tasks": {"knn": {"k": 20}}, "unseen_tasks": {"knn": {"k": 5}, "logistic": {"C": 0.01}}, "size": 96}
    line = "knn k=20; on unseen sets knn k=5, logistic C=0.01; images at 96 px"
    assert protocol_line(Protocol.model_validate(protocol)) == line
