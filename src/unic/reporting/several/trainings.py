"""The page of several trainings of one recipe: their mean beside the teachers, and the scores of each."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unic.errors import InputError
from unic.eval.results.trainings import mean_gains_of_trainings
from unic.reporting.draw.looks import Looks
from unic.reporting.page import compared
from unic.reporting.read.run_files import RunFiles, hidden_in, read_run
from unic.reporting.read.scores import Scores, shown, signed
from unic.reporting.render import render, write_page
from unic.reporting.sections.facts import parameters
from unic.runs.folder import RunFolder, trainings_in


def write_trainings(folder: Path, to: Path | None = None) -> Path:
    """Writes `folder/report.html` (or `to`), one file that needs no network, and returns its path.

    Raises:
        InputError: the trainings have not been evaluated together, or `results.json` cannot be read.
    """
    files, runs = read_run(folder), [read_run(run) for run in trainings_in(folder).values()]
    content = collect_trainings(files, runs)
    return write_page(render("trainings.html.j2", content, hidden_in([files, *runs])), to or RunFolder(folder).report)


def collect_trainings(files: RunFiles, runs: Sequence[RunFiles]) -> dict[str, Any]:
    """Everything that the template shows."""
    if files.scores is None:
        is_there = RunFolder(files.path).results.is_file()
        text = files.results_note if is_there else "the trainings have not been evaluated together yet"
        raise InputError(f"report {files.path}: {text}; unic eval {shlex.quote(str(files.path))} measures them")
    scores = files.scores
    return {
        "name": files.name,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        **compared(scores, Looks.of(scores)),
        "sizes": parameters(scores, {}),
        "trainings": _trainings(scores),
        "runs": [_run(run) for run in runs],
    }


def _trainings(scores: Scores) -> dict[str, Any] | None:
    """A row for each task and each mean gain, with mean, deviation and every training; None for a single training."""
    if scores.student is None or not scores.trainings:
        return None
    rows = []
    for task in scores.tasks:
        unit = scores.unit(task)
        cell = scores.cell(task, scores.student)
        each = [shown(scores.score(task, name), unit) for name in scores.trainings]
        deviation = "–" if cell.training_spread is None else f"± {shown(cell.training_spread, unit)}"
        rows.append({"label": task, "mean": shown(cell.score, unit), "spread": deviation, "each": each})
    gains = mean_gains_of_trainings(scores.results).get(scores.student, {})
    foot = [
        {"label": kind, "each": ["–" if gain is None else f"{signed(gain)} %" for gain in values]}
        for kind, values in gains.items()
    ]
    return {"names": scores.trainings, "rows": rows, "foot": foot}


def _run(run: RunFiles) -> dict[str, str]:
    """The page of a training, relative to the folder of all, and when the training began."""
    page = f"{run.path.name}/report.html" if RunFolder(run.path).report.is_file() else ""
    return {"name": run.path.name, "page": page, "started": str(run.environment.get("started", ""))}
