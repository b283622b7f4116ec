"""From marks per test image to results.json: scores, spreads, intervals, gains over the best teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unic import rng
from unic.eval.bootstrap import interval, resample
from unic.eval.tasks.base import Outcome

# One model on one task: an outcome for each seed, or the line that says why there is none.
Cell = list[Outcome] | str
Cells = Mapping[str, Mapping[str, Cell]]  # task ("clipart/knn") → model → cell


def summarise(cells: Cells, roles: Mapping[str, str]) -> dict[str, Any]:
    """The measured part of results.json.

    The gain of a model on a task is `100 · (s − b) / b` with `b` the best single teacher of that task on all test
    images. Intervals hold that teacher fixed: chosen as the best, it is if anything flattered, never the model.

    Returns:
        `tasks`, `best_teacher`; `gains`, `mean_gains` for every model that is not a teacher; and for the first student
        `gain_over_best_teacher`, `mean_gain`, `difference_ci`, `mean_gain_ci`, `single_teacher` (the teacher with the
        highest mean score, easier to beat). A mean is null where a task is missing.
    """
    samples = _resampled(cells)
    scores = {key: float(np.mean([outcome.score for outcome in cells[key[0]][key[1]]])) for key in samples}  # type: ignore[union-attr]
    tasks = {
        task: {name: _entry(cell, scores.get((task, name)), samples.get((task, name))) for name, cell in row.items()}
        for task, row in cells.items()
    }
    best = _best_teachers(cells, scores, roles)
    gains: dict[str, dict[str, float]] = {}
    mean_gains: dict[str, dict[str, Any]] = {}
    for name in (name for name, role in roles.items() if role != "teacher" and best):
        shared = [task for task in best if (task, name) in scores]
        gains[name] = {task: _gain(scores[task, name], scores[task, best[task]]) for task in shared}
        complete = set(shared) == set(cells)
        drawn = [_gain(samples[task, name], samples[task, best[task]]) for task in shared]
        mean_gains[name] = {
            "gain": float(np.mean(list(gains[name].values()))) if complete else None,
            "ci": interval(np.mean(drawn, axis=0)) if complete else None,
        }
    student = next((name for name, role in roles.items() if role == "student"), None)
    own = gains.get(student or "", {})
    mean = mean_gains.get(student or "", {"gain": None, "ci": None})
    return {
        "tasks": tasks,
        "best_teacher": best,
        "gain_over_best_teacher": own,
        "mean_gain": mean["gain"],
        "difference_ci": {task: interval(samples[task, student] - samples[task, best[task]]) for task in own},  # type: ignore[index]
        "mean_gain_ci": mean["ci"],
        "single_teacher": _against_single_teacher(list(cells), scores, samples, roles, student),
        "gains": gains,
        "mean_gains": mean_gains,
    }


def _against_single_teacher(
    tasks: list[str],
    scores: Mapping[tuple[str, str], float],
    samples: Mapping[tuple[str, str], np.ndarray],
    roles: Mapping[str, str],
    student: str | None,
) -> dict[str, Any] | None:
    """Mean score of the student and of the one teacher with the highest mean, and their difference in points."""
    complete = [name for name in roles if all((task, name) in scores for task in tasks)]
    means = {name: float(np.mean([scores[task, name] for task in tasks])) for name in complete}
    teachers = [name for name in complete if roles[name] == "teacher"]
    if student not in means or not teachers:
        return None
    best = max(teachers, key=lambda name: means[name])
    drawn = np.mean([samples[task, student] - samples[task, best] for task in tasks], axis=0)
    return {
        "name": best,
        "score": round(means[best], 3),
        "student": round(means[student], 3),
        "difference_ci": interval(drawn),
    }


def _resampled(cells: Cells) -> dict[tuple[str, str], np.ndarray]:
    """`(RESAMPLES,)` scores for each (task, model) that was measured; all of one set share their resamples."""
    by_set: dict[str, dict[tuple[str, str], np.ndarray]] = {}
    for task, row in cells.items():
        for name, cell in row.items():
            if not isinstance(cell, str):
                marks = np.mean([outcome.marks[:, 0] for outcome in cell], axis=0)
                by_set.setdefault(task.partition("/")[0], {})[task, name] = marks
    samples: dict[tuple[str, str], np.ndarray] = {}
    for data, marks in by_set.items():
        drawn = resample(np.stack(list(marks.values())), seed=rng.stream(f"bootstrap/{data}"))
        samples |= dict(zip(marks, drawn.T, strict=True))
    return samples


def _entry(cell: Cell, score: float | None, sample: np.ndarray | None) -> dict[str, Any]:
    if isinstance(cell, str):
        return {"error": cell}
    assert score is not None
    assert sample is not None
    values = [outcome.score for outcome in cell]
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    details = [outcome.details for outcome in cell]
    return {"score": round(score, 3), "spread": round(spread, 3), "ci": interval(sample), "details": details}


def _best_teachers(cells: Cells, scores: Mapping[tuple[str, str], float], roles: Mapping[str, str]) -> dict[str, str]:
    best = {}
    for task in cells:
        teachers = [name for name, role in roles.items() if role == "teacher" and scores.get((task, name), 0) > 0]
        if teachers:
            best[task] = max(teachers, key=lambda name: scores[task, name])
    return best


def _gain(score: Any, best: Any) -> Any:
    """Percent; of numbers or of arrays."""
    return 100 * (score - best) / best
