"""Confusion of the student's worst task: which classes it takes for which others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from unic.reporting.read.predictions import Predictions, class_names
from unic.reporting.read.scores import Scores, shown, signed

_ALL = 30  # classes that are shown in full; of more, the most confused
_SOME = 20
_LISTED = 10  # pairs of classes


def worst_task(scores: Scores, predictions: Predictions) -> str | None:
    """The task with the lowest gain, or without teachers the lowest score, of those whose predictions are known."""
    known = [task for task in scores.tasks if predictions.of(task, scores.student) is not None]
    gained = {task: gain for task in known if (gain := scores.gains.get(task)) is not None}
    scored = {task: score for task in known if (score := scores.score(task, scores.student or "")) is not None}
    ranked = gained or scored
    return min(ranked, key=lambda task: ranked[task], default=None)


def confusion(scores: Scores, predictions: Predictions) -> dict[str, Any]:
    """The matrix as rows of cells and its largest confusions, or a `note` that says why there is none."""
    task = worst_task(scores, predictions)
    if task is None or scores.student is None:
        return {"note": "The student has no task with predicted classes."}
    labels, predicted = predictions.labels(task), predictions.of(task, scores.student)
    assert predicted is not None
    num_classes = int(max(labels.max(), predicted.max())) + 1
    names = class_names(scores.results.protocol, task, num_classes)
    best = scores.best_teacher.get(task)
    theirs = predictions.of(task, best)
    kept = most_confused(labels, predicted)
    gain, score = scores.gains.get(task), scores.score(task, scores.student)
    return {
        "task": task,
        "why": f"lowest score, {shown(score)}" if gain is None else f"lowest gain, {signed(gain)}\N{NO-BREAK SPACE}%",
        "columns": [names[index] for index in kept],
        "rows": _rows(labels, predicted, kept, names),
        "num_classes": len(np.union1d(labels, predicted)),
        "teacher": best if theirs is not None else None,
        "largest": _largest(labels, predicted, theirs, names),
    }


def most_confused(
    labels: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], limit: int = _ALL, some: int = _SOME
) -> list[int]:
    """All classes that occur if they are at most `limit`, else the `some` with most errors from and to them."""
    present = np.union1d(labels, predicted)
    if len(present) <= limit:
        return present.tolist()
    wrong = labels != predicted
    errors = np.bincount(np.concatenate([labels[wrong], predicted[wrong]]), minlength=int(present[-1]) + 1)
    return np.sort(np.argsort(-errors, kind="stable")[:some]).tolist()


def _rows(
    labels: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], kept: Sequence[int], names: Sequence[str]
) -> list[dict[str, Any]]:
    """A row for each class of `kept` that has images: how many were given each class of `kept`, or another one."""
    rows = []
    for true in kept:
        given = predicted[labels == true]
        counts = [int((given == other).sum()) for other in kept]
        cells = [
            {"count": count, "share": count / max(1, len(given)), "is_right": other == true}
            for count, other in zip(counts, kept, strict=True)
        ]
        rows.append({"name": names[true], "cells": cells, "others": len(given) - sum(counts), "total": len(given)})
    return [row for row in rows if row["total"]]


def _largest(
    labels: Int[np.ndarray, " n"],
    predicted: Int[np.ndarray, " n"],
    theirs: Int[np.ndarray, " n"] | None,
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """The most frequent pairs of a class and the one that was predicted instead; ties in the order of classes."""
    wrong = labels != predicted
    pairs, counts = np.unique(np.stack([labels[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True)
    found = []
    for place in np.argsort(-counts, kind="stable")[:_LISTED]:
        true, given = map(int, pairs[place])
        of_true = labels == true
        of_teacher = None if theirs is None else int((of_true & (theirs == given)).sum())
        found.append(
            {
                "true": names[true], "given": names[given], "count": int(counts[place]), "total": int(of_true.sum()),
                "teacher": of_teacher,
            }
        )  # fmt: skip
    return found
