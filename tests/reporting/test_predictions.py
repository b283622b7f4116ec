"""Predictions beside results.json: confusion, and which of them are believed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn.metrics import confusion_matrix

from unic.eval.results.schema import Protocol, Results
from unic.reporting.read.predictions import Predictions, class_names, read_predictions
from unic.reporting.read.scores import Scores
from unic.reporting.sections.confusion import confusion, most_confused, worst_task

Evaluation = tuple[dict[str, Any], dict[str, np.ndarray]]


@pytest.fixture
def known(evaluation: Evaluation) -> tuple[Scores, Predictions]:
    scores = Scores(Results.load(evaluation[0]))
    return scores, Predictions(evaluation[1], scores)


def test_predictions_of_the_same_evaluation_are_believed(known: tuple[Scores, Predictions]) -> None:
    scores, predictions = known
    assert predictions.stale == []
    for task in scores.tasks:
        assert predictions.of(task, "student") is not None
    assert predictions.of("other/knn", "px") is None
    assert predictions.of("nowhere/knn", "student") is None


def test_predictions_of_another_evaluation_are_left_out(evaluation: Evaluation, tmp_path: Path) -> None:
    """Two seeds: the first may lie half their distance from the mean, and no farther."""
    results, arrays = evaluation
    changed = dict(arrays)
    labels = arrays["other/labels"]
    changed["other/logistic/student"] = np.where(np.arange(200) < 100, labels, (labels + 1) % 40).astype(np.int32)
    changed["shapes/knn/vit"] = arrays["shapes/knn/vit"][:-1]
    save_file(changed, tmp_path / "predictions.safetensors")
    predictions, note = read_predictions(tmp_path, Scores(Results.load(results)))
    assert predictions is not None
    assert predictions.stale == ["shapes/knn", "other/logistic"]
    assert predictions.of("shapes/knn", "student") is None
    assert "results.json" in note
    assert note.endswith(": shapes/knn, other/logistic left out.")


def test_no_file_and_a_broken_one(evaluation: Evaluation, tmp_path: Path) -> None:
    assert "no predictions.safetensors" in read_predictions(tmp_path, Scores(Results.load(evaluation[0])))[1]
    (tmp_path / "predictions.safetensors").write_bytes(b"nothing")
    assert "cannot be read" in read_predictions(tmp_path, Scores(Results.load(evaluation[0])))[1]


def test_worst_task_has_the_lowest_gain(evaluation: Evaluation, known: tuple[Scores, Predictions]) -> None:
    scores, predictions = known
    gains = evaluation[0]["gain_over_best_teacher"]
    assert worst_task(scores, predictions) == min(gains, key=gains.get)
    alone = copy.deepcopy(evaluation[0])
    alone |= {"gain_over_best_teacher": {}, "best_teacher": {}}
    alone["models"] = {"student": alone["models"]["student"]}
    own = {task: row["student"]["score"] for task, row in alone["tasks"].items()}
    assert worst_task(Scores(Results.load(alone)), predictions) == min(own, key=own.get)


def test_confusion_is_that_of_scikit_learn(known: tuple[Scores, Predictions]) -> None:
    scores, predictions = known
    made = confusion(scores, predictions)
    task = made["task"]
    labels, predicted = predictions.labels(task), predictions.of(task, "student")
    assert predicted is not None
    expected = confusion_matrix(labels, predicted)
    assert [[cell["count"] for cell in row["cells"]] for row in made["rows"]] == expected.tolist()
    assert [row["total"] for row in made["rows"]] == expected.sum(1).tolist()
    assert made["columns"] == class_names(scores.results.protocol, task, len(expected))


def test_many_classes_show_the_most_confused(evaluation: Evaluation) -> None:
    results = copy.deepcopy(evaluation[0])
    results["gain_over_best_teacher"]["other/knn"] = -50.0
    scores = Scores(Results.load(results))
    predictions = Predictions(evaluation[1], scores)
    made = confusion(scores, predictions)
    labels, predicted = predictions.labels("other/knn"), predictions.of("other/knn", "student")
    assert predicted is not None
    expected = confusion_matrix(labels, predicted)
    assert made["num_classes"] == 40
    assert len(made["rows"]) == len(made["columns"]) == 20
    for row in made["rows"]:
        assert sum(cell["count"] for cell in row["cells"]) + row["others"] == row["total"]
    errors = expected.sum(0) + expected.sum(1) - 2 * np.diag(expected)
    kept = most_confused(labels, predicted)
    assert errors[kept].min() >= np.delete(errors, kept).max()
    wrong = expected - np.diag(np.diag(expected))
    theirs = confusion_matrix(labels, predictions.of("other/knn", "vit"))
    assert [pair["count"] for pair in made["largest"]] == np.sort(wrong.ravel())[::-1][:10].tolist()
    first = made["largest"][0]
    true, given = (int(first[key].rpartition(" ")[2]) for key in ("true", "given"))
    assert (first["count"], first["total"]) == (wrong[true, given], expected[true].sum())
    assert first["teacher"] == theirs[true, given]


def test_no_errors_have_no_largest(evaluation: Evaluation) -> None:
    results, arrays = evaluation
    perfect = dict.fromkeys(("other/labels", "other/index", "other/knn/student"), arrays["other/labels"])
    results = {**results, "tasks": {"other/knn": {"student": {"score": 100.0}}}}
    scores = Scores(Results.load(results))
    assert confusion(scores, Predictions(perfect, scores))["largest"] == []


def test_classes_without_names_have_numbers() -> None:
    assert class_names(Protocol(classes={"a": ["x"]}), "a/knn", 2) == ["x", "class 1"]
    assert class_names(Protocol(), "a/knn", 1) == ["class 0"]
