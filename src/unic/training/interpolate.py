"""The interpolated student of a run with `train.interpolate`: chooses α, and keeps the student in RUN/interpolated.

That folder is a checkpoint of its own. The checkpoints of the run hold the trained weights, so a resume can ask for
another α.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from torch import Tensor

from unic.arguments import argument
from unic.encoders import Encoder
from unic.errors import FullDiskError, InputError, Remedy
from unic.recipe.schema import Recipe
from unic.runs import checkpoint
from unic.runs.checkpoint import Checkpoint
from unic.runs.folder import RunFolder
from unic.training.job import Job
from unic.training.mixture import first_views, mixture
from unic.training.ridge import Ridge, RidgeScore

CANDIDATES = (0.25, 0.5, 0.75, 1.0)  # values of α that `auto` compares


def load_interpolated(run: Path, recipe: Recipe, step: int) -> Checkpoint | None:
    """The interpolated student of a run, if it is of this step and as the recipe asks; else None.

    Its state has `alpha` and, with `auto`, the measured `r2`.
    """
    if recipe.train.interpolate is None:
        return None
    try:
        found = checkpoint.load_newest(RunFolder(run).interpolated)
    except InputError:  # damaged: it is made again
        return None
    if found is None or found.checkpoint.step != step:
        return None
    state = found.checkpoint.state
    norms = state.get("norms", "again")  # versions before the option always did this
    is_asked = state["asked"] == recipe.train.interpolate and norms == recipe.train.interpolate_norms
    return found.checkpoint if is_asked else None


def interpolate(
    job: Job,
    student: Encoder,
    start: Mapping[str, Tensor],
    run: Path,
    step: int,
    *,
    tell: Callable[[str], object],
    report: Callable[[str], object],
) -> Encoder:
    """The student between start and end. It is saved in the run folder, and read from there the next time.

    Args:
        job: job of the last stage.
        student: as trained.
        start: the weights that it started from.
        run: the run folder.
        step: the last one.
        tell: shows a line.
        report: shows the work in progress.

    Raises:
        FullDiskError: it cannot be written.
    """
    asked = job.recipe.train.interpolate
    found = load_interpolated(run, job.recipe, step)
    if found is not None and (found.state["validation"] == job.recipe.data.validation or asked != "auto"):
        mixed = copy.deepcopy(student)
        mixed.load_state_dict(found.tensors)
        return mixed.freeze()
    views = first_views(job)
    measured: dict[float, list[RidgeScore]] = {}
    if asked == "auto":
        ridge = Ridge(job, report)
        for alpha in CANDIDATES:
            measured[alpha] = ridge(mixture(student, start, alpha, views))
            tell(_line(alpha, measured[alpha]))
        alpha = best(measured)
    else:
        assert isinstance(asked, float | int), asked
        alpha = float(asked)
    mixed = mixture(student, start, alpha, views)
    state = {
        "asked": asked, "norms": job.recipe.train.interpolate_norms, "alpha": alpha,
        "validation": job.recipe.data.validation,
        "r2": [{"alpha": share, **row._asdict()} for share, rows in measured.items() for row in rows],
    }  # fmt: skip
    try:
        checkpoint.save(RunFolder(run).interpolated, Checkpoint(step, dict(mixed.state_dict()), state), keep=1)
    except OSError as error:
        raise FullDiskError(
            f"the interpolated student could not be saved: {error.strerror or error}",
            remedy=Remedy("free some space and continue", argument("resume", True)),
        ) from error
    tell(f"student: {1 - alpha:g} x the start's weights + {alpha:g} x the trained weights (train.interpolate)")
    return mixed


def best(measured: Mapping[float, Sequence[RidgeScore]]) -> float:
    """The α with the highest mean over sources of the mean over teachers; among equals the lowest."""
    return max(sorted(measured), key=lambda alpha: _mean(_by_source(measured[alpha]).values()))


def _by_source(rows: Sequence[RidgeScore]) -> dict[str, float]:
    return {
        source: _mean([row.r2 for row in group]) for source, group in groupby(sorted(rows), key=lambda row: row.source)
    }


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def _line(alpha: float, rows: Sequence[RidgeScore]) -> str:
    sources = _by_source(rows)
    each = ", ".join(f"{source} {r2:.3f}" for source, r2 in sources.items())
    return f"interpolation: α = {alpha:g}: R² of the teachers' CLS {_mean(sources.values()):.3f} ({each})"
