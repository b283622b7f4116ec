"""What to do next: what a run's own numbers say that it still lacks, each by a rule that docs/report.md states.

Where the numbers are missing nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unic.report.predictions import Predictions
from unic.report.scores import TOP1, Scores, shown
from unic.report.training import Rows, is_number

LEAST_FALL = 0.02  # part of the loss
FALSE_ALARMS = 0.05  # of Welch's test, where the loss does not fall any more
LEARNT = 0.3  # cosine: with less, under a tenth of the variance of standardised tokens is imitated (the square of it)
_FEWEST = 3  # logged steps in a quarter of the training
_PROBES = ("knn", "logistic", "linear")


def advice(rows: Rows, teachers: Sequence[str], scores: Scores | None, predictions: Predictions | None) -> list[str]:
    """Sentences; none where nothing is wanting, or nothing is known.

    Args:
        rows: of metrics.jsonl, of the stage that was trained last.
        teachers: of the recipe.
    """
    found = [_still_falling(rows), *(_not_learnt(rows, name) for name in teachers)]
    return [text for text in [*found, *(_at_chance(scores, predictions) if scores else ())] if text]


def _quarters(rows: Rows, key: str) -> tuple[list[float], list[float]]:
    """What was logged as `key` in the third quarter of the steps, and in the last."""
    known = [(row["step"], row[key]) for row in rows if is_number(row.get(key))]
    if not known:
        return [], []
    first, last = known[0][0], known[-1][0]
    half, late = first + (last - first) / 2, first + 3 * (last - first) / 4
    return [value for step, value in known if half < step <= late], [value for step, value in known if step > late]


def _still_falling(rows: Rows) -> str:
    """By Welch's test of the logged losses of the last quarter of the steps against those of the quarter before."""
    from scipy.stats import ttest_ind_from_stats

    before, late = _quarters(rows, "loss")
    if min(len(before), len(late)) < _FEWEST:
        return ""
    was, now = float(np.mean(before)), float(np.mean(late))
    moments = [part(side) for side in (before, late) for part in (np.mean, _deviation, len)]
    has_scatter = moments[1] or moments[4]  # without any the fall is sure, and the test is not defined
    test = ttest_ind_from_stats(*moments, equal_var=False, alternative="greater") if has_scatter else None
    is_chance = test is not None and test.pvalue >= FALSE_ALARMS
    if is_chance or now > (1 - LEAST_FALL) * was:
        return ""
    return (
        f"The loss was still falling: over the last quarter of the steps it is {100 * (1 - now / was):.0f} % lower "
        f"than over the quarter before ({was:.3g}, then {now:.3g}). More steps (train.epochs or train.steps) may teach "
        "more."
    )


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1))


def _not_learnt(rows: Rows, teacher: str) -> str:
    """By the mean cosine of CLS, and of patches, over the last quarter of the steps."""
    late = {kind: _quarters(rows, f"cos/{teacher}/{kind}")[1] for kind in ("cls", "patch")}
    means = {kind: float(np.mean(values)) for kind, values in late.items() if values}
    if not means or max(means.values()) >= LEARNT:
        return ""
    numbers = ", ".join(f"{mean:.2f} for {'cls' if kind == 'cls' else 'patches'}" for kind, mean in means.items())
    return (
        f"Teacher {teacher} is not learnt: its mean cosine over the last quarter of the steps is {numbers}. Give the "
        "student images of the kind that this teacher is for, more steps or a wider projector, or leave it out."
    )


def _at_chance(scores: Scores, predictions: Predictions | None) -> list[str]:
    """Tasks on which the student's interval reaches down to what guessing gets."""
    low: dict[bool, list[str]] = {True: [], False: []}
    for task in scores.tasks:
        chance = _chance(scores, predictions, task)
        entry = scores.tasks[task].get(scores.student or "", {})
        if chance is None or not entry.get("ci") or entry["ci"][0] > chance:
            continue
        best = scores.tasks[task].get(scores.best.get(task, ""), {}).get("ci")
        text = f"{task} ({shown(entry['score'])}, by guessing {shown(chance)})"
        low[best is not None and best[0] <= chance].append(text)
    found = []
    if low[False]:
        found.append(
            f"At chance: on {', '.join(low[False])} the student's interval reaches down to guessing. Look whether its "
            "losses fell, and whether it was trained on images like these."
        )
    if low[True]:
        found.append(
            f"At chance: on {', '.join(low[True])} neither the student nor its best teacher is above guessing, so the "
            "task says nothing of them: there may be too few images, or its labels are not to be seen in them."
        )
    return found


def _chance(scores: Scores, predictions: Predictions | None, task: str) -> float | None:
    """Top-1 in % of a guess: the share of the most frequent class where labels are known, else one of all classes."""
    name, _, row = task.partition("/")
    protocol = scores.results.get("protocol") or {}
    entry = (protocol.get("tasks") or {}).get(row) or {}
    if (entry.get("task") or row) not in _PROBES or scores.unit(task) != TOP1:
        return None
    if predictions is not None and predictions.of(task, scores.student) is not None:
        labels = predictions.labels(task)
        return 100 * float(np.bincount(labels).max()) / len(labels)
    classes = ((protocol.get("counts") or {}).get(name) or {}).get("classes")
    return 100 / classes if classes else None
