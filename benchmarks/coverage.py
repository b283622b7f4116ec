"""How often intervals make a false statement about a student, on one task, on means, over trainings and between runs.

    python benchmarks/coverage.py [--evaluations 1000] [--out benchmarks/results/coverage.json]

All results are simulated so that no difference exists: the student is exactly as good as the best teacher (or best
teachers), and runs are equal. So "beats" and "stays below" are false whenever they are said. Whether a model is right
on an image depends on the image's difficulty, which all models share, on the model, and on the luck of a seed (of the
probe or the training), which shifts the model's score on all images of a task. Results go through
`unic.eval.results.summary.summarise` and `unic.reporting.several.paired`, as those of models do. The exit code is 1 if
the share of false statements on one side exceeds 5 % by more than chance allows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from _machine import machine
from jaxtyping import Float

from unic.eval.results.schema import ModelEntry, Protocol
from unic.eval.results.summary import summarise
from unic.eval.results.trainings import TRAINING
from unic.eval.tasks import Outcome
from unic.reporting.read.predictions import Predictions
from unic.reporting.read.scores import Scores
from unic.reporting.several.paired import Paired

IMAGES, SEEDS, BATCH = 500, 3, 100
POINTS = 28  # by which a shift of 1 raises a score of 50 %
ALLOWED = 5.0  # percent
# How far each teacher is behind the student, in points; the best one is level with it.
TEACHERS: dict[str, list[float]] = {
    "1": [0],
    "2, equal": [0, 0],
    "4, equal": [0] * 4,
    "8, equal": [0] * 8,
    "2, unequal": [0, 2],
    "4, unequal": [0, 1, 2, 4],
    "8, unequal": [0, 0, 1, 1, 2, 2, 4, 8],
    "8, one ahead": [0] + [4] * 7,
}
SPREADS = (0.0, 0.7, 2.5)  # of a score over seeds, in points
TASKS_OF_MEAN = ("a/knn", "a/logistic", "b/knn", "b/logistic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--evaluations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine("numpy", "scipy")}  # first: its load is that before the run
    started, draw = time.process_time(), np.random.default_rng(options.seed)
    result |= {"images": IMAGES, "seeds": SEEDS, "evaluations": options.evaluations, "seed": options.seed, "rows": []}
    for spread in SPREADS:
        for teachers, behind in TEACHERS.items():
            report(result, of_tasks(draw, behind, spread, options.evaluations), "task", teachers, spread)
    for spread in SPREADS[1:]:
        for teachers in ("1", "4, equal", "8, equal", "4, unequal"):
            found = of_means(draw, TEACHERS[teachers], spread, options.evaluations // 4)
            for what, ends in found.items():
                report(result, ends, what, teachers, spread)
    for spread in SPREADS:
        for count in (2, 3, 5):
            found_ends = of_trainings(draw, count, spread, options.evaluations)
            report(result, found_ends, f"{count} trainings", "1", spread)
    for spread in SPREADS:
        for count in (2, 4):
            for what, ends in of_runs(draw, count, spread, options.evaluations).items():
                report(result, ends, what, f"{count} runs, equal", spread)
    result["cpu_s"] = round(time.process_time() - started)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(any(not row["passes"] for row in result["rows"]))


def report(result: dict[str, Any], ends: Float[np.ndarray, "n 2"], what: str, rivals: str, spread: float) -> None:
    count = len(ends)
    above, below = 100 * float((ends[:, 0] > 0).mean()), 100 * float((ends[:, 1] < 0).mean())
    chance = 3 * float(np.sqrt(ALLOWED * (100 - ALLOWED) / count))
    row = {
        "interval": what, "rivals": rivals, "spread": spread, "evaluations": count,
        "false_above_percent": round(above, 2), "false_below_percent": round(below, 2),
        "mean_width": round(float(np.diff(ends, axis=1).mean()), 2), "passes": max(above, below) <= ALLOWED + chance,
    }  # fmt: skip
    result["rows"].append(row)
    print(
        f"| {what} | {rivals} | {spread} | above {above:.1f} % | below {below:.1f} % | {row['mean_width']} |",
        flush=True,
    )


def right_or_wrong(
    draw: np.random.Generator, behind: Sequence[float], spread: float
) -> Float[np.ndarray, "models seeds images"]:
    """Marks of models that are `behind` by so many points, on one task; a single seed if there is no spread."""
    seeds = SEEDS if spread else 1
    own = draw.standard_normal((len(behind), 1, IMAGES)) + draw.standard_normal(IMAGES)
    luck = spread / POINTS * draw.standard_normal((len(behind), seeds, 1))
    return (own + luck > np.array(behind)[:, None, None] / POINTS).astype(np.float64)


def cell_row(draw: np.random.Generator, behind: Sequence[float], spread: float) -> dict[str, list[Outcome]]:
    marks = right_or_wrong(draw, [0, *behind], spread)
    names = ["student", *(f"t{index}" for index in range(len(behind)))]
    return {name: [Outcome(row[:, None]) for row in rows] for name, rows in zip(names, marks, strict=True)}


def roles(behind: Sequence[float]) -> dict[str, str]:
    return {"student": "student"} | {f"t{index}": "teacher" for index in range(len(behind))}


def of_tasks(draw: np.random.Generator, behind: Sequence[float], spread: float, count: int) -> np.ndarray:
    """Intervals of the difference on one task. Tasks of a set share its resamples, which saves most of the time."""
    ends: list[list[float]] = []
    for batch in range(count // BATCH):
        cells = {f"set{batch}/{index}": cell_row(draw, behind, spread) for index in range(BATCH)}
        ends += summarise(cells, models(roles(behind))).difference_ci.values()
    return np.array(ends)


def of_means(draw: np.random.Generator, behind: Sequence[float], spread: float, count: int) -> dict[str, np.ndarray]:
    """Intervals of the mean gain, an axis and the best single teacher, over tasks with and without random seeds."""
    ends: dict[str, list[list[float]]] = {"mean gain": [], "axis": [], "single teacher": []}
    for index in range(count):
        # Each task has other good teachers, but the first one is level on all of them, so that all mean gains are 0.
        order = [0, *(1 + draw.permutation(len(behind) - 1))]
        cells = {
            f"{task[0]}{index}{task[1:]}": cell_row(
                draw, [behind[place] for place in order], spread if task.endswith("logistic") else 0.0
            )
            for task in TASKS_OF_MEAN
        }
        found = summarise(cells, models(roles(behind)), axes={"all": ["*"]})
        ends["mean gain"].append(found.mean_gain_ci)
        ends["axis"].append(found.axes["all"].ci)
        ends["single teacher"].append(found.single_teacher.difference_ci)
    return {what: np.array(values) for what, values in ends.items()}


def models(roles_of: dict[str, str]) -> dict[str, ModelEntry]:
    return {name: ModelEntry(role=role) for name, role in roles_of.items()}  # type: ignore[arg-type]


def of_trainings(draw: np.random.Generator, trainings: int, spread: float, count: int) -> np.ndarray:
    """Intervals of the difference on one task, for the mean of several trainings; `spread` is between trainings."""
    names = [f"seed-{index}" for index in range(trainings)]
    roles_of = {"student": "student", **dict.fromkeys(names, TRAINING), "t0": "teacher"}
    ends: list[list[float]] = []
    for batch in range(count // BATCH):
        cells = {}
        for index in range(BATCH):
            own = draw.standard_normal((trainings + 1, IMAGES)) + draw.standard_normal(IMAGES)
            own[:trainings] += spread / POINTS * draw.standard_normal((trainings, 1))
            rows = zip([*names, "t0"], (own > 0).astype(np.float64), strict=True)
            cells[f"set{batch}/{index}"] = {name: [Outcome(row[:, None])] for name, row in rows}
        ends += summarise(cells, models(roles_of), trainings={"student": names}).difference_ci.values()
    return np.array(ends)


def of_runs(draw: np.random.Generator, runs: int, spread: float, count: int) -> dict[str, np.ndarray]:
    """Intervals of the difference of one run to the first, and of the highest run to all others (the lowest ends)."""
    ends: dict[str, list[list[float]]] = {"run to the first": [], "highest run": []}
    for batch in range(count // BATCH):
        rows = {f"set{batch}/{index}": right_or_wrong(draw, [0] * runs, spread) for index in range(BATCH)}
        labels = {f"set{batch}/{key}": np.zeros(IMAGES, np.int64) for key in ("labels", "index")}
        files = [_run(rows, labels, run) for run in range(runs)]
        paired = Paired(files)  # type: ignore[arg-type]
        for task in rows:
            best = max(range(runs), key=lambda run: files[run].scores.score(task, "student"))
            to_others = [paired.difference(task, best, other) for other in range(runs) if other != best]
            ends["run to the first"].append(paired.difference(task, runs - 1, 0) or [])
            ends["highest run"].append(np.min(to_others, axis=0).tolist())
    return {what: np.array(values) for what, values in ends.items()}


def _run(rows: dict[str, np.ndarray], arrays: dict[str, np.ndarray], run: int) -> SimpleNamespace:
    """The part of a run folder that `Paired` reads, with class 0 as the right answer."""
    cells = {task: {"student": [Outcome(marks[:, None]) for marks in row[run]]} for task, row in rows.items()}
    results = summarise(cells, models({"student": "student"}))
    scores = Scores(results.model_copy(update={"protocol": Protocol(seeds=list(range(SEEDS)))}))
    predicted = {f"{task}/student": (1 - row[run][0]).astype(np.int64) for task, row in rows.items()}
    return SimpleNamespace(scores=scores, predictions=Predictions(arrays | predicted, scores))


if __name__ == "__main__":
    main()
