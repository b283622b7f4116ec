"""The stages of a run: the first one from the recipe or a checkpoint, each later one from the one before.

A later stage takes over weights and statistics, with position embeddings resampled. Its optimiser and schedules start
anew, and so does the state of a loss that the stage before did not have or had in another size. Steps are counted
through all stages.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import nn

from unic.arguments import argument
from unic.errors import InputError
from unic.recipe.schema import Recipe
from unic.runs import checkpoint
from unic.runs.state import DISTILLER, LOSSES, Position, as_parts
from unic.signals import StopSignals
from unic.tokens import Grid
from unic.training import engine
from unic.training.build import build
from unic.training.job import Job
from unic.training.recorded import Models, Record, as_recorded, models_of
from unic.training.resample import resampled
from unic.training.rules import under_first_rules
from unic.training.run import Run
from unic.training.stage import Stage
from unic.training.start import Start

log = logging.getLogger("unic")


def first_stage(
    recipe: Recipe, folder: Path, accelerator: Accelerator, console: Console, stops: StopSignals, *, resume: bool
) -> Stage:
    """The stage that a run begins with, or in which its newest checkpoint was saved.

    Args:
        recipe: if an earlier version of unic began the run, it is changed to the rules of that version.
        folder: see `Run`, as for `accelerator`, `console` and `stops`.
        resume: continue from the newest checkpoint, if there is one.

    Raises:
        InputError: a stage of the recipe cannot run, or the recipe trains something else than the checkpoint.
    """
    newest = checkpoint.load_newest(folder) if resume else None
    for problem in newest.problems if newest else ():
        log.warning(problem)
    state = as_parts(newest.checkpoint.step, newest.checkpoint.state) if newest else None
    models = models_of(state) if state else Models()
    run = Run(under_first_rules(recipe) if models.before else recipe, folder, accelerator, console, stops)
    plans = [as_recorded(plan, models) for plan in run.recipe.plans()]
    position = Position.of(state) or Position()
    if position.stage >= len(plans):
        raise InputError(
            f"{argument('resume')}: the run was in stage {position.stage + 1}, and the recipe has {len(plans)}"
        )
    job = first_of(plans[position.stage :], run.accelerator.device, run.accelerator.num_processes)
    stage = Stage(run, job, position, Record(job, models), Start.of(job, plans))
    if newest:
        stage.restore(newest.checkpoint)
    return stage


def next_stage(stage: Stage) -> Stage:
    """The stage that follows one that has ended."""
    run, before, position = stage.run, stage.job, stage.position
    trained = engine.whole(before.distiller.state_dict())
    average = engine.whole(stage.ema.tensors if stage.ema else {})
    run.accelerator.free_memory()  # else it would keep the models of all stages
    plan = as_recorded(run.recipe.plans()[position.stage + 1], stage.record.models)
    job = build(plan, run.accelerator.device, run.accelerator.num_processes)
    states = {name: part.state_dict() for name, part in before.learned().items()}
    states[DISTILLER] = resampled(trained, job.distiller, before.own_grid, job.own_grid)
    anew = job.loss_states.take_over(states.pop(LOSSES))
    for name, state in states.items():
        job.learned()[name].load_state_dict(state)
    epochs = math.ceil(stage.progress(position.step) / before.steps_per_epoch)
    after = Stage(
        run, job,
        Position(position.stage + 1, position.step, (position.first_epoch or 0) + epochs, position.step),
        Record(job, stage.record.models),
        stage.start.carried(trained, before, job),
    )  # fmt: skip
    if anew:
        after.news = [f"losses whose state starts anew in stage {position.stage + 2}: {', '.join(anew)}"]
    if after.ema and average:
        after.ema.load_state_dict(resampled(average, job.distiller, before.own_grid, job.own_grid))
    return after


def first_of(plans: Sequence[Recipe], device: torch.device, world_size: int = 1) -> Job:
    """The job of the first stage. Later stages are built before it and released, so that their mistakes show now.

    Raises:
        InputError: a stage cannot run, or cannot take over from the one before.
    """
    later: _Later | None = None
    for plan in reversed(plans[1:]):
        later = _try_stage(plan, later, device, world_size)
    first = build(plans[0], device, world_size)
    _check_follows(first, later)
    return first


class _Later(NamedTuple):
    """What a stage takes over from the one before: a distiller without values, and the state of each teacher."""

    distiller: nn.Module
    grid: Grid
    of_teachers: dict[str, torch.Size]
    teachers: list[str]


def _try_stage(plan: Recipe, later: _Later | None, device: torch.device, world_size: int) -> _Later:
    """Builds a stage, and keeps no values of it, as two stages need not fit into memory."""
    job = build(plan, device, world_size)
    _check_follows(job, later)
    return _Later(job.distiller.to("meta"), job.own_grid, _of_teachers(job), list(job.encoders))


def _check_follows(job: Job, later: _Later | None) -> None:
    if later is None:
        return
    lone = [name for name in (*job.encoders, *later.teachers) if not (name in job.encoders and name in later.teachers)]
    if lone and _of_teachers(job) != later.of_teachers:
        raise InputError(
            f"recipe: stages: teacher '{lone[0]}' is not in every stage, so a stage cannot take over its projector or "
            "statistics; name it in 'teachers.models', or leave it out of the stages"
        )
    resampled(job.distiller.state_dict(), later.distiller, job.own_grid, later.grid)


def _of_teachers(job: Job) -> dict[str, torch.Size]:
    """Shapes of the states that a stage keeps for its teachers."""
    parts = {"projectors": job.distiller.projectors, "standardizer": job.standardizer, "weighting": job.weighting}
    return {f"{kind}.{name}": value.shape for kind, part in parts.items() for name, value in part.state_dict().items()}
