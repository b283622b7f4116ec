"""The page of one run, from the files of its folder. A part that is missing or broken becomes one line."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unic._usage import usage
from unic.eval.results.schema import Protocol
from unic.reporting.draw.looks import Looks, colours
from unic.reporting.draw.patch_colours import FEWEST
from unic.reporting.notes import reason
from unic.reporting.read.predictions import Predictions
from unic.reporting.read.run_files import RunFiles, read_run, unlike_results
from unic.reporting.read.scores import Scores
from unic.reporting.render import render, write_page
from unic.reporting.sections.advice import advice
from unic.reporting.sections.confusion import confusion
from unic.reporting.sections.facts import parameters, protocol_line
from unic.reporting.sections.failures import failures
from unic.reporting.sections.gains import radar_chart
from unic.reporting.sections.influence import influence
from unic.reporting.sections.pictures import Pictures, draw_pictures
from unic.reporting.sections.roles import explanations
from unic.reporting.sections.spectrum import spectrum
from unic.reporting.sections.table import table
from unic.reporting.sections.tasks import task_groups
from unic.reporting.sections.training import last_values, training_charts
from unic.reporting.sections.verdict import figures, verdict
from unic.runs.folder import RunFolder
from unic.runs.metric_names import SKIPPED
from unic.runs.state import Position, newest_state

_MAX_DAMAGED = 200  # names that the page lists


def write_report(run: Path, to: Path | None = None) -> Path:
    """Writes `RUN/report.html` (or `to`), one file that needs no network, and returns its path.

    A section whose files the run does not have (an evaluation, an export, a log) says so.
    """
    files = read_run(Path(run))
    return write_page(render("report.html.j2", collect(files), files.hidden), to or RunFolder(files.path).report)


def collect(files: RunFiles) -> dict[str, Any]:
    """Everything that the template shows."""
    teachers = list(files.recipe.teachers.models) if files.recipe else []
    evaluation = _evaluation(files, teachers)
    scores, colour = evaluation.pop("scores"), evaluation["colour"]
    pictures = _pictures(files, scores)
    return {
        "name": files.name,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "environment": files.environment,
        **evaluation,
        "next_steps": _next_steps(files, scores),
        "sizes": parameters(scores, pictures.sizes),
        "charts": training_charts(files.rows, teachers or (scores.teachers if scores else []), colour, files.recipe),
        "teacher_options": _teacher_options(files),
        "steps": files.rows[-1]["step"] if files.rows else None,
        "num_skipped": int(last_values(files.rows).get(SKIPPED, 0)),
        "pictures": pictures,
        "fewest": FEWEST,
        "recipe": files.recipe_text,
        "recipe_note": files.recipe_note,
        "alpha": files.alpha,
        "damaged": {
            "known": files.damaged is not None,
            "shown": (files.damaged or [])[:_MAX_DAMAGED],
            "count": len(files.damaged or []),
        },
        "usage": usage(files.path / "export"),
        "exported": files.is_exported,
        "run": str(files.path),
    }


def _teacher_options(files: RunFiles) -> str:
    """The options of the teachers that have any, `depth: weight 2, matched by patches alone`."""
    setting = files.recipe.teachers if files.recipe else None
    options = {name: setting.options(name) for name in setting.models} if setting else {}
    return "; ".join(f"{name}: {', '.join(words)}" for name, words in options.items() if words)


def _next_steps(files: RunFiles, scores: Scores | None) -> list[str]:
    """The next steps that the header advises; for a training that has not ended, to resume it."""
    position = Position.of(newest_state(files.path))
    plans = files.recipe.plans() if files.recipe else []
    first = position.first if position else 0
    rows = [row for row in files.rows if row["step"] > first] if position or len(plans) == 1 else []
    found = []
    if position and position.is_finished is not None and not position.has_ended(len(plans)):
        run = shlex.quote(str(files.path))
        recipe = shlex.quote(str(RunFolder(files.path).recipe))
        found, rows = [f"The training has not ended. To resume it: unic distill {recipe} --out {run} --resume"], []
    teachers = list(plans[-1].teachers.models) if plans else []
    try:
        return [*found, *advice(rows, teachers, scores, files.predictions if scores else None)]
    except Exception as error:  # numbers that were edited by hand
        return [*found, f"The advice on what to do next failed: {reason(error)}"]


def _evaluation(files: RunFiles, teachers: list[str]) -> dict[str, Any]:
    """The parts that show results.json. If that is malformed, only these parts are lost."""
    note = files.results_note
    if files.scores:
        try:
            return _measured(files, files.scores, teachers)
        except Exception as error:  # edited by hand, or written by another version
            note = unlike_results(error)
    return {
        "scores": None, "colour": colours("student", teachers), "verdict": note, "figures": [], "results_note": note,
        "table": None,
    }  # fmt: skip


def _measured(files: RunFiles, scores: Scores, teachers: list[str]) -> dict[str, Any]:
    looks = Looks.of(scores, teachers)

    def of_predictions(part: Callable[[Scores, Predictions], dict[str, Any]]) -> dict[str, Any]:
        known = files.predictions
        return {"note": files.predictions_note} if known is None else _attempt(lambda: part(scores, known))

    return {
        "scores": scores,
        "student": scores.student or "student",
        "colour": looks.colour,
        "results_note": "",
        **compared(scores, looks),
        "confusion": of_predictions(confusion),
        "failures": of_predictions(failures),
        "predictions_note": files.predictions_note if files.predictions else "",
        "influence": _attempt(lambda: influence(scores, files.recipe)),
        "spectrum": _attempt(lambda: spectrum(scores, looks)),
    }


def compared(scores: Scores, looks: Looks) -> dict[str, Any]:
    """The parts that need scores alone: verdict, figures, table, radar, tasks."""
    return {
        "verdict": verdict(scores),
        "figures": figures(scores),
        "table": table(scores, looks.colour),
        "holds_best_fixed": scores.holds_best_teacher_fixed,
        "drawn": scores.drawn,
        "protocol": protocol_line(scores.results.protocol),
        "radar": radar_chart(scores, looks),
        "explained": explanations(scores),
        "task_groups": _attempt(lambda: task_groups(scores, looks)),
    }


def _attempt(part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A section with an empty `note`; if it fails, a `note` with the reason and nothing else."""
    try:
        return {"note": "", **part()}
    except Exception as error:
        return {"note": f"This part cannot be shown: {reason(error)}"}


def _pictures(files: RunFiles, scores: Scores | None) -> Pictures:
    if files.recipe is None:
        return Pictures(patch_notes=[files.recipe_note], neighbour_notes=[files.recipe_note])
    return draw_pictures(files.path, files.recipe, scores.results.protocol if scores else Protocol())
