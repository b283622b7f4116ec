"""Two mean gains, of seen and of unseen tasks: what counts which, in results and in every format of the table."""

import csv
import io
import re

import numpy as np
import pytest
from rich.console import Console
from written import summarise

from unic.eval.results.formats import to_csv, to_latex, to_markdown
from unic.eval.results.schema import Results
from unic.eval.results.seen import mean_gains, tasks_of
from unic.eval.results.table import render
from unic.eval.tasks import Outcome

ROLES = {"student": "student", "a": "teacher", "b": "teacher", "start": "other"}
SHARES = {
    "cats/knn": {"student": 0.66, "a": 0.6, "b": 0.5, "start": 0.3},
    "dogs/knn": {"student": 0.55, "a": 0.4, "b": 0.5, "start": 0.5},
    "faces/knn": {"student": 0.3, "a": 0.5, "b": 0.6, "start": 0.6},
    "faces/logistic": {"student": 0.45, "a": 0.5, "b": 0.4, "start": 0.55},
}
UNSEEN = ["faces/knn", "faces/logistic"]


def outcome(share, count=400):
    return Outcome((np.arange(count) < round(share * count)).astype(float)[:, None])


def cells(tasks=tuple(SHARES)):
    return {task: {name: [outcome(share)] for name, share in SHARES[task].items()} for task in tasks}


@pytest.fixture(scope="module")
def results():
    found = summarise(cells(), ROLES, axes={"all": ["*"], "people": ["faces/*"]}, unseen=UNSEEN)
    return {"models": {name: {"role": role} for name, role in ROLES.items()}, **found}


def test_each_kind_has_a_mean_gain_of_its_own(results):
    assert results["unseen"] == UNSEEN
    assert results["mean_gain"] == pytest.approx(10)  # +10 % over a, +10 % over b
    assert results["mean_gain_unseen"] == pytest.approx(-30)  # -50 % under b, -10 % under a
    assert results["mean_gain_ci"][0] > 0 > results["mean_gain_unseen_ci"][1]
    assert results["mean_gain_unseen_ci"][0] < -30 < results["mean_gain_unseen_ci"][1]
    assert results["mean_gains_unseen"]["start"]["gain"] == pytest.approx(5)
    assert results["mean_gains"]["start"]["gain"] == pytest.approx(-25)
    assert set(results["gain_over_best_teacher"]) == set(SHARES)


def test_means_ranks_and_differences_are_those_of_the_seen_tasks_alone(results):
    alone = summarise(cells(("cats/knn", "dogs/knn")), ROLES)
    for key in ("mean_gain", "mean_gain_ci", "mean_gains", "ranks", "single_teacher"):
        assert results[key] == alone[key], key
    students = {"student": "student", "a": "teacher", "b": "student", "start": "other"}
    found = summarise(cells(), students, unseen=UNSEEN)["differences"]
    assert found["means"].keys() == {"knn"}
    assert found["means"]["knn"]["b"]["difference"] == pytest.approx(-10.5)
    assert found["mean"] == {}
    assert found["tasks"]["faces/knn"]["b"]["difference"] == pytest.approx(30)


def test_an_axis_counts_unseen_tasks_only_where_it_names_no_others(results):
    assert results["axes"]["all"]["tasks"] == ["cats/knn", "dogs/knn"]
    assert results["axes"]["people"]["tasks"] == UNSEEN


def test_a_task_that_failed_leaves_the_other_mean_as_it_is():
    table = cells()
    table["faces/knn"]["student"] = "out of luck"
    found = summarise(table, ROLES, unseen=UNSEEN)
    assert found["mean_gain"] == pytest.approx(10)
    assert (found["mean_gain_unseen"], found["mean_gain_unseen_ci"]) == (None, None)


def test_results_without_unseen_tasks_have_one_mean_gain():
    """Of today, and of versions that did not know the word."""
    found = {"models": {name: {"role": role} for name, role in ROLES.items()}, **summarise(cells(), ROLES)}
    assert (found["unseen"], found["mean_gain_unseen"]) == ([], None)
    older = {key: value for key, value in found.items() if "unseen" not in key}
    for one in (found, older):
        (mean,) = mean_gains(Results.load(one))
        assert (mean.label, mean.kind, mean.gain) == ("mean gain", "seen", pytest.approx(-10))
        assert tasks_of(Results.load(one), "seen") == list(SHARES)
        assert "seen" not in to_markdown(Results.load(one))


def test_every_format_has_both_and_says_which(results):
    markdown = to_markdown(Results.load(results)).splitlines()
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in markdown}
    low, high = results["mean_gain_unseen_ci"]
    assert rows["mean gain (seen)"].split(" | ")[-1].startswith("**+10.0**")
    assert rows["mean gain (unseen)"].endswith(f" | -30.0 [{low:+.1f}, {high:+.1f}] |")
    assert rows.keys() >= {"faces/knn (unseen)", "cats/knn", "mean knn (seen)", "mean rank (seen)"}
    assert rows.keys() >= {"all (seen), gain %", "people (unseen), gain %"}
    latex = to_latex(Results.load(results))
    assert "mean gain (unseen) & \\textminus{}30.0" in latex
    assert "faces/knn (unseen) & " in latex


def test_the_mean_of_a_task_is_over_seen_sets(results):
    (line,) = [line for line in to_markdown(Results.load(results)).splitlines() if line.startswith("| mean knn (seen)")]
    assert line.split(" | ")[1:4] == ["60.5", "50.0", "50.0"]


def test_csv_tells_the_kinds_apart_and_ends_with_the_mean_gains(results):
    rows = list(csv.DictReader(io.StringIO(to_csv(Results.load(results)))))
    assert [row["kind"] for row in rows if row["model"] == "a"] == ["seen", "seen", "unseen", "unseen"]
    means = {(row["model"], row["kind"]): row for row in rows if row["task"] == "mean gain"}
    assert means.keys() == {(name, kind) for name in ("student", "start") for kind in ("seen", "unseen")}
    own = means["student", "unseen"]
    assert (own["set"], own["measure"], float(own["score"])) == ("", "gain %", -30)
    assert [float(own["ci_low"]), float(own["ci_high"])] == results["mean_gain_unseen_ci"]


def test_the_terminal_says_both_in_eighty_columns(results):
    screen = io.StringIO()
    Console(width=80, file=screen).print(render(Results.load(results)))
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(screen.getvalue().split())
    low, high = results["mean_gain_unseen_ci"]
    assert f"mean gain (unseen) in [{low:+.1f}, {high:+.1f}] %" in text
    assert "mean gain (seen) in [" in text
    assert re.search("unseen, .*: faces", text)
    assert "mean of all tasks in % (seen): student 60.5" in text
    order = [line.split()[0] for line in lines if "/" in line]
    assert order == list(SHARES)
    first = next(number for number, line in enumerate(lines) if line.split()[:1] == ["faces/knn"])
    assert not lines[first - 1].strip()
