"""What to do next: each rule of docs/report.md, on both sides of its bound, and nothing where numbers are missing."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from unic.eval.results.schema import Results
from unic.reporting.read.predictions import Predictions
from unic.reporting.read.scores import Scores
from unic.reporting.sections.advice import advice


def losses(levels: list[float], scatter: float = 0.01) -> list[dict[str, Any]]:
    """Forty logged steps; a level for each quarter, with a scatter that cancels out."""
    signs = [1, -1] * 5
    values = [level + scatter * sign for level in levels for sign in signs]
    return [{"step": step, "loss": value} for step, value in enumerate(values, start=1)]


def cosines(cls: float, patch: float | None = None, early: float = 0.0) -> list[dict[str, Any]]:
    late = {"cos/t/cls": cls} | ({} if patch is None else {"cos/t/patch": patch})
    rows = [dict.fromkeys(late, early)] * 15 + [late] * 5
    return [{"step": step, **row} for step, row in enumerate(rows, start=1)]


@pytest.mark.parametrize(
    ("levels", "scatter", "is_said"),
    [
        ([4.0, 3.0, 2.0, 1.5], 0.01, True),
        ([4.0, 3.0, 2.0, 1.5], 0.0, True),
        ([4.0, 3.0, 2.0, 1.99], 0.0, False),  # by half a percent
        ([4.0, 3.0, 2.0, 1.9], 0.5, False),  # less than its scatter can tell
        ([4.0, 3.0, 2.0, 2.4], 0.01, False),
    ],
)
def test_a_loss_that_was_still_falling(levels: list[float], scatter: float, is_said: bool) -> None:
    found = advice(losses(levels, scatter), [], None, None)
    assert len(found) == is_said
    if is_said:
        assert re.search(r" 25 % .*\(2, then 1\.5\)", found[0])


def test_too_few_logged_steps_say_nothing() -> None:
    assert advice([{"step": step, "loss": 1 / step} for step in range(1, 6)], [], None, None) == []
    assert advice([], ["t"], None, None) == []
    assert advice([{"step": 1, "loss": None}], ["t"], None, None) == []


@pytest.mark.parametrize(
    ("cls", "patch", "said"),
    [(0.2, None, "0.20 for cls"), (0.2, 0.1, "0.20 for cls, 0.10 for patches"), (0.2, 0.5, ""), (0.31, None, "")],
)
def test_a_teacher_that_is_not_learnt(cls: float, patch: float | None, said: str) -> None:
    """By the last quarter alone: it may have been learnt before, and lost."""
    found = advice(cosines(cls, patch, early=0.9 - cls), ["t", "never logged"], None, None)
    assert len(found) == bool(said)
    if said:
        assert re.search(f"Teacher t .*{said}", found[0])


def evaluation(student: list[float], teacher: list[float], task: str = "knn", **more: Any) -> Scores:
    """A task on a set of ten classes, with the intervals of both."""
    cells = {"s": {"score": sum(student) / 2, "ci": student}, "t": {"score": sum(teacher) / 2, "ci": teacher}}
    models = {"s": {"role": "student"}, "t": {"role": "teacher"}}
    protocol = {"counts": {"x": {"train": 100, "test": 100, "classes": 10}}, **more}
    return Scores(Results.load({"models": models, "tasks": {f"x/{task}": cells}, "protocol": protocol}))


@pytest.mark.parametrize(
    ("student", "teacher", "said"),
    [
        ([8.0, 16.0], [40.0, 50.0], r"x/knn \(12\.0, .*10\.0\).*student's interval"),
        ([8.0, 16.0], [7.0, 15.0], r"x/knn \(12\.0, .*10\.0\) neither "),
        ([10.5, 16.0], [40.0, 50.0], ""),
    ],
)  # fmt: skip
def test_a_probe_at_chance(student: list[float], teacher: list[float], said: str) -> None:
    found = advice([], [], evaluation(student, teacher), None)
    assert len(found) == bool(said)
    assert not said or re.search(said, found[0])


def test_guessing_the_most_frequent_class_is_chance_where_labels_are_known() -> None:
    """Of 100 test images 60 are of one class, and 62 are right: above 1 of 10 classes, and no more than that guess."""
    labels = np.concatenate([np.zeros(60), np.arange(40) % 9 + 1]).astype(np.int32)
    right = labels.copy()
    right[62:] = (right[62:] + 1) % 10
    scores = evaluation([53.0, 71.0], [80.0, 90.0])
    arrays = {"x/labels": labels, "x/index": np.arange(100, dtype=np.int32), "x/knn/s": right}
    assert advice([], [], scores, None) == []
    (line,) = advice([], [], scores, Predictions(arrays, scores))
    assert "x/knn (62.0, by guessing 60.0)" in line


def test_only_probes_whose_chance_is_known_are_judged() -> None:
    low, high = [8.0, 16.0], [40.0, 50.0]
    assert advice([], [], evaluation(low, high, task="retrieval"), None) == []
    assert advice([], [], evaluation(low, high, counts={}), None) == []
    named = {"near": {"task": "knn", "k": 1}}
    assert len(advice([], [], evaluation(low, high, task="near", tasks=named), None)) == 1
