"""The page that compares several runs: scores, gains, losses, and differences of their recipes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unic.errors import InputError
from unic.reporting.draw.looks import OWN
from unic.reporting.draw.radar import radar
from unic.reporting.draw.svg import Series, palette
from unic.reporting.read.run_files import RunFiles, hidden_in, read_run, unlike_results
from unic.reporting.read.scores import millions, told
from unic.reporting.render import render, write_page
from unic.reporting.sections.gains import FEWEST, WITHOUT_UNSEEN, gains_by_axis
from unic.reporting.sections.training import chart, last_values, loss_chart, series
from unic.reporting.several.recipes import differences
from unic.reporting.several.students import Compared, sentence
from unic.reporting.several.table import compared_table
from unic.runs.folder import nearest_folder
from unic.runs.metric_names import IMAGES_PER_S, KNN, KNN_UNSEEN, LOSS, LR, TOP1

_LINES = {LR: "Learning rate", IMAGES_PER_S: "Images per second"}


def write_comparison(runs: Sequence[Path], target: Path) -> Path:
    """Writes one page that compares the students of several runs, one file that needs no network, and returns its path.

    A run that has not been evaluated is shown with its recipe and its losses.

    Args:
        runs: run folders; the first is the one that the others are compared with.
        target: the file; its folder is made.

    Raises:
        InputError: fewer than two runs, or a folder that is none.
    """
    runs = [Path(run) for run in runs]
    if len(runs) < 2:
        raise InputError(f"report: a comparison needs two run folders or more, not {len(runs)}")
    for run in runs:
        if not run.is_dir():
            raise InputError(f"report {run}: no such folder{nearest_folder(run)}")
    files = [read_run(run) for run in runs]
    return write_page(render("comparison.html.j2", collect_runs(files), hidden_in(files)), Path(target))


def collect_runs(files: Sequence[RunFiles]) -> dict[str, Any]:
    """Everything that the template shows."""
    names = unique_names([run.path for run in files])
    runs = [_checked(run) for run in files]
    colours = [palette(index - 1) if index else OWN for index in range(len(runs))]
    compared = Compared(names, runs)
    looks = dict(zip(names, colours, strict=True))
    return {
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "names": names,
        "colour": looks,
        "sentence": sentence(compared),
        "summary": [_summary(name, run) for name, run in zip(names, runs, strict=True)],
        "kinds": compared.kinds,
        "table": compared_table(compared),
        "remarks": compared.notes(),
        "radar": _radar(names, runs, colours),
        "charts": _charts(names, runs, colours),
        "differences": differences([run.recipe for run in runs]),
    }


def _checked(run: RunFiles) -> RunFiles:
    """The run, without its evaluation if that is malformed, so that the other runs can still be compared."""
    if run.scores is None:
        return run
    try:
        compared_table(Compared([run.name], [run]))
        _summary(run.name, run)
        gains_by_axis(run.scores)
    except Exception as error:
        return replace(run, scores=None, predictions=None, results_note=unlike_results(error))
    return run


def unique_names(paths: Sequence[Path]) -> list[str]:
    """The folders' names, with the parent folders that tell them apart; with a number if a folder is given twice."""
    parts = [path.resolve().parts for path in paths]
    names: list[str] = []
    for own in parts:
        depths = range(1, len(own) + 1)
        alone = next(depth for depth in depths if sum(other[-depth:] == own[-depth:] for other in set(parts)) == 1)
        names.append(str(Path(*own[-alone:])))
    found: list[str] = []
    for name in names:
        number = 1
        while (free := f"{name} ({number})" if number > 1 else name) in found:
            number += 1
        found.append(free)
    return found


def _summary(name: str, run: RunFiles) -> dict[str, Any]:
    """One row of the overview: what the run reached and what it cost."""
    scores, last = run.scores, last_values(run.rows)
    rank = scores.results.ranks.get(scores.student) if scores and scores.student else None
    gains = {mean.kind: told(mean) for mean in scores.mean_gains} if scores else {}
    size = scores.models[scores.student].num_parameters if scores and scores.student else None
    return {
        "name": name,
        "gains": gains,
        "rank": f"{rank:.1f}" if rank else "–",
        "size": millions(size) or "–",
        "student": run.recipe.student.model if run.recipe else "",
        "steps": run.rows[-1]["step"] if run.rows else "–",
        "loss": f"{last[LOSS]:.3g}" if LOSS in last else "–",
        "started": str(run.environment.get("started", ""))[:16],
        "notes": [note for note in (run.recipe_note, run.results_note) if note],
    }


def _radar(names: Sequence[str], runs: Sequence[RunFiles], colours: Sequence[str]) -> dict[str, Any] | None:
    """The students' gains on the axes that all evaluated runs share; None if these are too few."""
    found = {
        index: (scores.student, *gains_by_axis(scores))
        for index, run in enumerate(runs)
        if (scores := run.scores) and scores.student and scores.gains
    }
    kinds = {axis_is for _, axis_is, _ in found.values()}
    if len(found) < 2 or len(kinds) > 1:
        return None
    by_run = [by_axis for _, _, by_axis in found.values()]
    axes = [axis for axis in by_run[0] if all(axis in by_axis for by_axis in by_run)]
    if len(axes) < FEWEST:
        return None
    shapes = [
        Series(names[index], colours[index], [(x, by_axis[axis][student]) for x, axis in enumerate(axes)], index)
        for index, (student, _, by_axis) in found.items()
    ]
    has_unseen = any(run.scores and run.scores.unseen for run in runs)
    axis_is = kinds.pop() + (WITHOUT_UNSEEN if has_unseen else "")
    return {"svg": radar(axes, shapes), "series": shapes, "axis_is": axis_is}


def _charts(names: Sequence[str], runs: Sequence[RunFiles], colours: Sequence[str]) -> list[dict[str, Any]]:
    """Charts of the loss and of other logged values."""

    def lines(key: str) -> list[Series]:
        return [series(run.rows, key, names[index], colours[index], index) for index, run in enumerate(runs)]

    logged = {key for run in runs for row in run.rows for key in row}
    found = [loss_chart(lines(LOSS))]
    for prefix, of in ((f"{KNN}/", ""), (f"{KNN_UNSEEN}/", "unseen ")):
        knn = sorted(key for key in logged if key.startswith(prefix))
        found += [chart(f"k-NN on {of}{key.removeprefix(prefix)}, {TOP1}", lines(key)) for key in knn]
    found += [chart(title, lines(key), low=0) for key, title in _LINES.items()]
    return [item for item in found if item]
