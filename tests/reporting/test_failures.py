"""Failures side by side: counts, the choice of images, sets that are gone or have changed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from unic.eval.datasets import resolve
from unic.eval.results.schema import Results
from unic.reporting.draw.thumbnails import thumbnail
from unic.reporting.read.predictions import Predictions
from unic.reporting.read.scores import Scores
from unic.reporting.sections.failures import SHOWN, failures

Evaluation = tuple[dict[str, Any], dict[str, np.ndarray]]


def _made(evaluation: Evaluation) -> dict[str, Any]:
    scores = Scores(Results.load(evaluation[0]))
    return failures(scores, Predictions(evaluation[1], scores))


def test_counts_of_right_and_wrong(evaluation: Evaluation) -> None:
    made = _made(evaluation)
    assert [row["task"] for row in made["counts"]] == list(evaluation[0]["tasks"])
    first = made["counts"][0]
    assert {key: first[key] for key in ("both", "student", "teacher", "neither")} == {
        "both": 5, "student": 2, "teacher": 1, "neither": 0,
    }  # fmt: skip
    for row in made["counts"]:
        assert sum(row[f"{key}_share"] for key in ("both", "student", "teacher", "neither")) == pytest.approx(1)


def test_images_are_those_that_only_one_gets_right(evaluation: Evaluation) -> None:
    results, _ = evaluation
    (shown,) = _made(evaluation)["sets"]
    test = resolve(results["protocol"]["data"][0]).test
    assert test.classes is not None
    assert shown["task"] == "shapes/knn"
    assert {card["src"] for card in shown["student_only"]} == {thumbnail(test.read(index)) for index in (4, 5)}
    assert [card["src"] for card in shown["teacher_only"]] == [thumbnail(test.read(3))]
    assert shown["teacher_only"][0]["true"] == test.classes[test.label(3)]
    assert shown["teacher_only"][0]["given"] == test.classes[1 - test.label(3)]


def test_at_most_so_many_images(evaluation: Evaluation) -> None:
    results, arrays = copy.deepcopy(evaluation[0]), dict(evaluation[1])
    for task in ("shapes/knn", "shapes/logistic"):
        arrays[f"{task}/vit"] = 1 - arrays["shapes/labels"]
        results["tasks"][task]["vit"] = {"score": 0.0}
    made = _made((results, arrays))
    assert made["counts"][0]["student"] == 7
    assert len(made["sets"][0]["student_only"]) == SHOWN


def test_sets_that_are_gone_are_said(evaluation: Evaluation) -> None:
    made = _made(evaluation)
    (note,) = made["notes"]
    assert note.startswith("other: results.json")


def test_sets_that_have_changed_are_not_shown(evaluation: Evaluation) -> None:
    arrays = dict(evaluation[1])
    arrays["shapes/index"] = arrays["shapes/index"][::-1].copy()
    made = _made((evaluation[0], arrays))
    assert made["sets"] == []
    assert "results.json" in made["notes"][0]


def test_needs_teachers(evaluation: Evaluation) -> None:
    results = {**evaluation[0], "models": {"student": {"role": "student"}}, "best_teacher": {}}
    assert "student and a teacher" in _made((results, evaluation[1]))["note"]
