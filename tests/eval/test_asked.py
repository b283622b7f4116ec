"""Tasks with options, as they are typed."""

from __future__ import annotations

import pytest

from unic.errors import InputError
from unic.eval.asked import code_asked_for, entries_of, parse_tasks
from unic.eval.plan import make_plan
from unic.eval.suite import Entry


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("knn,logistic", {"knn": ("knn", None), "logistic": ("logistic", None)}),
        ("knn(k=5), logistic(C=1e-2)", {"knn(k=5)": ("knn", {"k": 5}), "logistic(C=1e-2)": ("logistic", {"C": 0.01})}),
        ("logistic(C=null)", {"logistic(C=null)": ("logistic", {"C": None})}),
        ("near=knn(k=1, tokens=patch_mean)", {"near": ("knn", {"k": 1, "tokens": "patch_mean"})}),
        ("near=knn", {"near": ("knn", None)}),
        ("knn()", {"knn()": ("knn", {})}),
        (
            "r=robustness(corruptions=[fog, contrast],probe_options={C: 0.1, trials: 3})",
            {"r": ("robustness", {"corruptions": ["fog", "contrast"], "probe_options": {"C": 0.1, "trials": 3}})},
        ),
        ("z=zero_shot(templates='a, b(', names=a/b.json)",
         {"z": ("zero_shot", {"templates": "a, b(", "names": "a/b.json"})}),
        ("my_lab.task(x=true)", {"my_lab.task(x=true)": ("my_lab.task", {"x": True})}),
    ],
)  # fmt: skip
def test_forms(text: str, expected: dict[str, tuple[str, dict[str, object] | None]]) -> None:
    assert {asked.name: (asked.task, asked.options) for asked in parse_tasks(text)} == expected
    assert parse_tasks([text]) == parse_tasks(text)


@pytest.mark.parametrize(
    ("text", "named", "decisive"),
    [
        ("knn(k=5", "'knn(k=5'", "TASK(OPTION=VALUE"),
        ("knn)", "'knn)'", "TASK"),
        ("knn(5)", "'knn(5)'", "OPTION=VALUE"),
        ("knn(k={)", "'knn(k={)'", "'k'"),
        ("knn(k=[5)", "'knn(k=[5)'", "'k'"),
        ("knn(k='5)", "'knn(k='5)'", "'k'"),
        ("knn(data=clipart)", "'knn(data=clipart)'", "'data'"),
        ("a=knn(task=logistic)", "'a=knn(task=logistic)'", "'task'"),
        ("knn,knn", "'knn'", "NAME=TASK"),
        ("knn(k=5),knn(k=5)", "'knn(k=5)'", "twice"),
        ("zero_shot(names=a/b.json)", "'/'", "mine=zero_shot"),
    ],
)
def test_wrong_forms_are_one_line(text: str, named: str, decisive: str) -> None:
    with pytest.raises(InputError) as error:
        parse_tasks(text)
    assert (named in str(error.value), decisive in str(error.value)) == (True, True), error.value
    assert "\n" not in str(error.value)


def test_a_task_of_the_suite_keeps_what_was_not_typed() -> None:
    suite = {
        "robustness": Entry(data=["clipart"], probe="logistic", severities=[3]),
        "near": Entry(task="knn", k=1, tokens="patch_mean"),
    }  # type: ignore[call-arg]
    found = entries_of(parse_tasks("robustness(severities=[1]),knn(k=7),two=near(k=2),near,robustness"), suite)
    changed = found["robustness(severities=[1])"]
    assert (changed.task, changed.data) == ("robustness", ["clipart"])
    assert changed.options == {"probe": "logistic", "severities": [1]}
    assert (found["knn(k=7)"].task, found["knn(k=7)"].options) == ("knn", {"k": 7})
    assert (found["two"].task, found["two"].tokens, found["two"].options) == ("knn", "patch_mean", {"k": 2})
    assert found["near"] is suite["near"]
    assert found["robustness"] is suite["robustness"]


def test_tokens_that_are_none_are_named() -> None:
    with pytest.raises(InputError, match="task 'knn\\(tokens=clz\\)': 'tokens': Input should be"):
        entries_of(parse_tasks("knn(tokens=clz)"), {})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("knn(kk=5)", r"'knn\(kk=5\)'.*'kk'.*'k'"),
        ("knn(k=five)", "'k'.*integer"),
        ("knn(k=5.5)", "'k'.*integer"),
        ("logistic(C=[1])", "'C'.*number"),
        ("linear(search=gird)", "'search'.*'tpe' or 'grid'"),
        ("knn(seed=1)", "'seed'"),
        ("knm(k=1)", "'knm'.*'knn'"),
        # These are right, and so the set is opened.
        ("logistic(C=1),robustness(corruptions=all,severities=[1])", "/nowhere"),
        ("logistic(C=null),spectrum()", "/nowhere"),
    ],
)
def test_options_are_those_of_a_suite(text: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        make_plan(None, text, {"x": "/nowhere"})


def test_code_that_was_typed() -> None:
    asked = parse_tasks("lab.task,z=zero_shot(text=lab.tower, templates=simple)")
    assert code_asked_for(asked) == ["lab.task", "zero_shot", "lab.tower"]
