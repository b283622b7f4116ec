"""Reads the files of a run folder leniently: a file that is missing or broken becomes a note."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unic._regular_files import read_json, read_text
from unic.errors import InputError
from unic.eval.results.schema import Protocol, Results
from unic.recipe.references import WithReferences
from unic.recipe.schema import Recipe
from unic.reporting.notes import reason
from unic.reporting.read.predictions import Predictions, read_predictions
from unic.reporting.read.scores import Scores
from unic.reporting.read.sets import measured_sets
from unic.runs import checkpoint
from unic.runs.export_folder import ExportFolder
from unic.runs.folder import RunFolder
from unic.runs.metrics import read_metrics
from unic.runs.state import newest_state
from unic.training.places import written_in
from unic.training.recorded import recipe_of

_MISSING = "-"


@dataclass(frozen=True)
class RunFiles:
    """The files of a run that can be read.

    Attributes:
        recipe, scores, predictions: None if they cannot be read; the `note` of each then says why.
        rows: rows of metrics.jsonl.
        alpha: share of the trained weights in the exported student (`train.interpolate`).
        damaged: pairs of file and reason; None if not known, because nothing was saved or the list is malformed.
    """

    path: Path
    recipe: Recipe | None
    recipe_note: str
    recipe_text: str
    scores: Scores | None
    results_note: str
    predictions: Predictions | None
    predictions_note: str
    rows: list[dict[str, Any]]
    environment: dict[str, Any] = field(default_factory=dict)
    damaged: list[tuple[str, str]] | None = None
    alpha: float = 1.0

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def hidden(self) -> WithReferences:
        """The values of environment variables, which the page must not show."""
        recipe = self.recipe.written if self.recipe else _written(self.path)
        return WithReferences().written_as(
            recipe, measured_sets(self.scores.results.protocol if self.scores else Protocol())[1]
        )

    @property
    def is_exported(self) -> bool:
        return ExportFolder(RunFolder(self.path).export).is_complete


def hidden_in(runs: Iterable[RunFiles]) -> WithReferences:
    """What a page about several runs must not show."""
    return WithReferences().written_as(*(run.hidden.written for run in runs))


def read_run(path: Path) -> RunFiles:
    """Reads everything that pages show without loading models."""
    recipe, recipe_note = _recipe(path)
    scores, results_note = _scores(path)
    predictions, predictions_note = _predictions(path, scores, results_note)
    environment, _ = _json(RunFolder(path).environment)
    return RunFiles(
        path, recipe, recipe_note, _text(RunFolder(path).recipe), scores, results_note, predictions, predictions_note,
        _metrics(path), environment if isinstance(environment, dict) else {}, _damaged(path),
        _alpha(path, recipe),
    )  # fmt: skip


def _written(path: Path) -> Mapping[str, Any]:
    """What the newest checkpoint says of environment variables; nothing where it is damaged."""
    try:
        found = written_in(newest_state(path))
    except Exception:  # a damaged state must not cost the page
        return {}
    return found if isinstance(found, Mapping) else {}


def _recipe(path: Path) -> tuple[Recipe | None, str]:
    try:
        return recipe_of(path), ""
    except Exception as error:  # an older recipe with other keys must not cost the page
        return None, f"The recipe cannot be read: {reason(error)}"


def _scores(path: Path) -> tuple[Scores | None, str]:
    tree, problem = _json(RunFolder(path).results)
    if problem == _MISSING:
        run, files = shlex.quote(str(path)), [RunFolder(path).results, RunFolder(path).predictions]
        outs = " ".join(f"--out {shlex.quote(str(file))}" for file in files)
        return None, f"This run has not been evaluated yet. To do so: unic eval {run} {outs}; then unic report {run}"
    if problem:
        return None, f"results.json cannot be read: {problem}"
    try:
        results = Results.load(tree)
    except InputError as error:
        return None, str(error)
    if not (results.models and results.tasks):
        return None, "results.json cannot be read: it names no models or tasks"
    return Scores(results), ""


def unlike_results(error: Exception) -> str:
    return f"results.json is not as unic eval writes it: {reason(error)}"


def _predictions(path: Path, scores: Scores | None, note: str) -> tuple[Predictions | None, str]:
    if scores is None:
        return None, note
    try:
        return read_predictions(path, scores)
    except Exception as error:  # scores of another form than predictions expect
        return None, unlike_results(error)


def _metrics(path: Path) -> list[dict[str, Any]]:
    try:
        return read_metrics(path)
    except (OSError, ValueError):
        return []


def _damaged(path: Path) -> list[tuple[str, str]] | None:
    entries, note = _json(RunFolder(path).damaged)
    if note == _MISSING and (path / "checkpoints" / "last").is_file():
        return []  # each save writes the list unless it is empty
    if not isinstance(entries, list):
        return None
    return [(str(entry[0]), str(entry[1])) for entry in entries if isinstance(entry, list) and len(entry) == 2]


def _alpha(path: Path, recipe: Recipe | None) -> float:
    if recipe is None or recipe.train.interpolate is None:
        return 1.0
    newest = checkpoint.newest_step(RunFolder(path).interpolated)
    saved, _ = _json(RunFolder(RunFolder(path).interpolated).checkpoints / f"step-{newest}" / "state.json")
    alpha = saved.get("state", {}).get("alpha") if isinstance(saved, dict) else None
    return float(alpha) if isinstance(alpha, int | float) else 1.0


def _json(path: Path) -> tuple[Any, str]:
    """The content and an empty note, or None and what is wrong."""
    try:
        return read_json(path), ""
    except FileNotFoundError:
        return None, _MISSING
    except (OSError, ValueError) as error:
        return None, reason(error)


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, ValueError):
        return ""
