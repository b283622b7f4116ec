"""What to do next: advice from a run's own numbers, by the rules of docs/report.md. Missing numbers give no advice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unic.eval.results.row_title import set_of, task_of
from unic.reporting.read.predictions import Predictions
from unic.reporting.read.scores import Scores, shown
from unic.reporting.sections.training import Rows, is_number
from unic.runs.metric_names import LOSS, TOP1, cosine_of

LEAST_FALL = 0.02  # share of the loss
FALSE_ALARMS = 0.05  # share of runs whose loss has stopped falling that get the advice all the same
LEARNT = 0.3  # cosine; below it less than a tenth (its square) of the variance of standardised tokens is imitated
_FEWEST = 3  # logged steps that a quarter of the training needs
_PROBES = ("knn", "logistic", "linear")


def advice(rows: Rows, teachers: Sequence[str], scores: Scores | None, predictions: Predictions | None) -> list[str]:
    """Sentences of advice.

    Args:
        rows: rows of metrics.jsonl, of the stage that was trained last.
        teachers: teachers of the recipe.
        scores: scores of the evaluation, if there is one.
        predictions: predictions of the same evaluation, if there are any.
    """
    found = [_still_falling(rows), *(_not_learnt(rows, name) for name in teachers)]
    return [text for text in [*found, *(_at_chance(scores, predictions) if scores else ())] if text]


def _late(rows: Rows, key: str) -> tuple[list[tuple[float, float]], float]:
    """The values logged as `key` in the last half of the steps, and the step at which the last quarter begins."""
    known = [(row["step"], row[key]) for row in rows if is_number(row.get(key))]
    if not known:
        return [], 0.0
    first, last = known[0][0], known[-1][0]
    return [point for point in known if point[0] > (first + last) / 2], first + 3 * (last - first) / 4


def _still_falling(rows: Rows) -> str:
    """Compares the means of the last two quarters of the steps, and fits lines to the last half and quarter."""
    from scipy.stats import linregress

    points, late = _late(rows, LOSS)
    before, after = ([loss for step, loss in points if (step > late) is is_after] for is_after in (False, True))
    if min(len(before), len(after)) < _FEWEST:
        return ""
    was, now = float(np.mean(before)), float(np.mean(after))
    half, quarter = np.array(points).T, np.array(points[len(before) :]).T
    falls = linregress(*half, alternative="less").pvalue < FALSE_ALARMS and linregress(*quarter).slope <= 0
    if not falls or now > (1 - LEAST_FALL) * was:
        return ""
    return (
        f"The loss was still falling: over the last quarter of the steps it is {100 * (1 - now / was):.0f} % lower "
        f"than over the quarter before ({was:.3g}, then {now:.3g}). More steps (train.epochs or train.steps) may teach "
        "more."
    )


def _not_learnt(rows: Rows, teacher: str) -> str:
    """Looks at the mean cosine of CLS, and of patches, over the last quarter of the steps."""
    means = {}
    for kind, key in (("cls", cosine_of(teacher, "cls")), ("patch", cosine_of(teacher, "patch"))):
        points, late = _late(rows, key)
        if points:
            means[kind] = float(np.mean([cosine for step, cosine in points if step > late]))
    if not means or max(means.values()) >= LEARNT:
        return ""
    numbers = ", ".join(f"{mean:.2f} for {'cls' if kind == 'cls' else 'patches'}" for kind, mean in means.items())
    return (
        f"Teacher {teacher} is not learnt: its mean cosine over the last quarter of the steps is {numbers}. Give the "
        "student images of the kind that this teacher is for, more steps or a wider projector, or leave it out."
    )


def _at_chance(scores: Scores, predictions: Predictions | None) -> list[str]:
    """Names the tasks on which the student's interval reaches down to the score of guessing."""
    low: dict[bool, list[str]] = {True: [], False: []}
    for task in scores.tasks:
        chance = _chance(scores, predictions, task)
        cell = scores.cell(task, scores.student)
        if chance is None or not cell.ci or cell.ci[0] > chance:
            continue
        best = scores.cell(task, scores.best_teacher.get(task)).ci
        text = f"{task} ({shown(cell.score)}, by guessing {shown(chance)})"
        low[best is not None and best[0] <= chance].append(text)
    found = []
    if low[False]:
        found.append(
            f"At chance: on {', '.join(low[False])} the student's interval reaches down to guessing. Check whether its "
            "losses fell, and whether it was trained on images like these."
        )
    if low[True]:
        found.append(
            f"At chance: on {', '.join(low[True])} neither the student nor its best teacher is above guessing, so the "
            "task cannot compare them: it may have too few images, or labels that the images do not show."
        )
    return found


def _chance(scores: Scores, predictions: Predictions | None, task: str) -> float | None:
    """Top-1 in % of a guess: the share of the most frequent class if labels are known, else 1 / number of classes."""
    row = task_of(task)
    protocol = scores.results.protocol
    named = protocol.unseen_tasks if task in scores.unseen else None
    entry = (named or protocol.tasks).get(row, {})
    if (entry.get("task") or row) not in _PROBES or scores.unit(task) != TOP1:
        return None
    if predictions is not None and predictions.of(task, scores.student) is not None:
        labels = predictions.labels(task)
        return 100 * float(np.bincount(labels).max()) / len(labels)
    counts = protocol.counts.get(set_of(task))
    return 100 / counts.classes if counts and counts.classes else None
