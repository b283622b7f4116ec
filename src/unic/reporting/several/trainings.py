"""The page of several trainings of one recipe: their mean beside the teachers, and the scores of each."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

from unic.errors import InputError
from unic.eval.results.trainings import mean_gains_of_trainings
from unic.reporting.draw.looks import Looks
from unic.reporting.page import compared
from unic.reporting.read.run_files import RunFiles, read_run
from unic.reporting.read.scores import Scores, shown, signed
from unic.reporting.render import render, write_page
from unic.reporting.sections.facts import parameters
from unic.runs.folder import RunFolder, trainings_in


def write_trainings(folder: Path, to: Path | None = None) -> Path:
    """Writes `folder/report.html` (or `to`), one file that needs no network, and returns its path.

    Raises:
        InputError: the trainings have not been evaluated together, or `results.json` cannot be read.
    """
    return write_page(render("trainings.html.j2", collect_trainings(folder)), to or RunFolder(folder).report)


def collect_trainings(folder: Path) -> dict[str, Any]:
    """Everything that the template shows."""
    files = read_run(folder)
    if files.scores is None:
        is_there = RunFolder(folder).results.is_file()
        text = files.results_note if is_there else "the trainings have not been evaluated together yet"
        raise InputError(f"report {folder}: {text}; unic eval {shlex.quote(str(folder))} measures them")
    runs = {run.name: read_run(run) for run in trainings_in(folder).values()}
    scores = files.scores
    return {
        "name": files.name,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        **compared(scores, Looks.of(scores)),
        "sizes": parameters(scores, {}),
        "trainings": _trainings(scores),
        "runs": [_run(name, run) for name, run in runs.items()],
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


def _run(name: str, run: RunFiles) -> dict[str, str]:
    """The page of a training, relative to the folder of all, and when the training began."""
    page = f"{name}/report.html" if RunFolder(run.path).report.is_file() else ""
    return {"name": name, "page": page, "started": str(run.environment.get("started", ""))}
