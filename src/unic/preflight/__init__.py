"""Pre-flight check: what a run needs, and what would fail later, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from unic.cores import beside
from unic.data.image_list import ImageList
from unic.errors import InputError, StoppedError
from unic.eval.online import OnlineKnn
from unic.eval.plan import Plan, make_plan
from unic.eval.suite import load_suite
from unic.eval.trained import refuse_trained
from unic.preflight.cost import estimate
from unic.preflight.findings import Finding, Report
from unic.preflight.images import find_duplicates, look_at
from unic.preflight.models import compare, describe, load_all
from unic.preflight.spread import look_at_spread
from unic.preflight.trial import PATIENCE, few_images, try_steps
from unic.recipe.references import WithReferences
from unic.recipe.schema import Recipe
from unic.tokens import Tokens
from unic.training.advice import advice
from unic.training.batch_norms import SINGLE_IMAGES, batch_norms, sees_single_images
from unic.training.build import build
from unic.training.job import Job
from unic.training.memory import out_of_memory_named
from unic.training.stages import first_of

__all__ = ["Finding", "Report", "check_recipe"]


def check_recipe(
    recipe: Recipe,
    device: torch.device,
    *,
    name: str = "recipe",
    processes: int = 1,
    price: float | None = None,
    out: Path | None = None,
) -> Report:
    """Builds everything that a run needs, tries it on one real batch and looks for what would go wrong.

    Args:
        recipe: the recipe of the run.
        device: the device to try it on.
        name: the name of the recipe in the report.
        processes: number of processes of the run, each on a device like this one. The time in which they wait for each
            other is not estimated.
        price: price of an hour of all processes, in any currency; None: no price.
        out: the planned run folder, whose disk is checked for free space.

    Returns:
        The report. Wrong input is among its findings and not raised, so that all of it is seen at once. For a recipe
        with stages it is the report of the first, which holds those of the others.

    Raises:
        InputError: a stage does not give a valid recipe.
    """
    plans = recipe.plans()
    names = [f"{name}, stage {index + 1} of {len(plans)}" if recipe.stages else name for index in range(len(plans))]
    first, *later = [
        _check(plan, device, Report(names[index]), processes, price, out, plans[:index])
        for index, plan in enumerate(plans)
    ]
    first.stages = later
    if later and all(report.is_ready for report in (first, *later)):
        try:
            first_of(plans, device, processes)
        except InputError as error:
            later[-1].add("error", "stages", str(error))
    return first.shared(_hidden(plans).shared)


def _hidden(plans: Sequence[Recipe]) -> WithReferences:
    """What the stages and their suites have from environment variables."""
    hidden = WithReferences()
    for plan in plans:
        hidden.written_as(plan.written)
        if plan.eval.suite:
            with suppress(InputError):  # a finding of the report
                hidden.written_as(load_suite(plan.eval.suite).written)
    return hidden


def _check(
    recipe: Recipe,
    device: torch.device,
    report: Report,
    processes: int,
    price: float | None,
    out: Path | None,
    before: Sequence[Recipe],
) -> Report:
    """Fills the report of one stage. `before`: the recipes of the stages before it."""
    encoders = load_all(recipe, device, report)
    images = _images(recipe, report)
    evaluation = _evaluation(recipe, report)
    if images is not None and evaluation is not None:
        find_duplicates(images, evaluation, report)
    if not report.is_ready or len(encoders) < len(recipe.teachers.models):
        return report
    del encoders  # they are built again with everything else; two copies of large teachers may not fit
    try:
        job = build(recipe, device, processes)
    except InputError as error:
        report.add("error", "recipe", str(error).removeprefix("recipe: "))
        return report
    if sees_single_images(recipe.train, processes) and batch_norms(job.student):
        report.add("warning", "student", f"{SINGLE_IMAGES}; use larger batches or fewer micro-batches")
    for section, text in advice(job, before):
        report.add("warning", section, text)
    if not recipe.eval.suite:
        report.add("note", "eval.suite", "nothing is measured at the end; name a suite to measure the student")
    _look_at_models(job, report)
    look_at_spread(job, report)
    try:
        with out_of_memory_named(job):
            sides = recipe.data.sizes or [recipe.data.size]
            trials = [try_steps(job, side, PATIENCE / len(sides)) for side in sides]
    except StoppedError as error:
        report.add("error", "memory", str(error))
        return report
    estimate(job, trials, price, out or Path("runs"), report)
    return report


def _images(recipe: Recipe, report: Report) -> ImageList | None:
    """The training images; None, with an error in the report, where they cannot be opened."""
    try:
        images = ImageList.from_config(recipe.data.train, recipe.data.max_pixels, recipe.data.holdout)
        look_at(images, recipe, report)
    except InputError as error:
        report.add("error", "data", str(error))
        return None
    return images


def _look_at_models(job: Job, report: Report) -> None:
    """Sends one batch through student and teachers: adds their rows, and findings about each and about pairs."""
    recipe = job.recipe
    views = job.views(job.first_batch(min(few_images(job.device), recipe.train.batch_size)))
    tokens: dict[str, Tokens] = {}
    job.student.eval()
    largest, taken = (recipe.data.size, recipe.data.size), {"student": job.resolutions.grids, **job.resolutions.taken}
    for model, encoder in {"student": job.student, **job.encoders}.items():
        size = largest if largest in taken.get(model, ()) else encoder.input_size
        with beside(recipe.data.workers):  # speed is measured with the threads of a step
            row, tokens[model] = describe(model, encoder, views, size)
        if model in recipe.teachers.models:
            row["tokens"], row["options"] = job.matched(model), recipe.teachers.options(model)
        report.models.append(row)
    report.facts["views"] = recipe.data.sizes or [recipe.data.size]
    compare(report.models, tokens, recipe, report)
    if recipe.data.sizes:
        report.add("note", "data.sizes", job.resolutions.describe())


def _evaluation(recipe: Recipe, report: Report) -> Plan | None:
    """The plan of the evaluation, opened as the run will open it; None without one, or with an error in the report."""
    if not recipe.eval.suite:
        return None
    try:
        suite = load_suite(recipe.eval.suite)
        plan = make_plan(suite)
        refuse_trained(plan, [entry.path for entry in recipe.data.train])
        if recipe.eval.every:
            OnlineKnn(suite)
    except InputError as error:
        report.add("error", "eval.suite", str(error).removeprefix("eval.suite: "))
        return None
    if not plan.unseen:
        report.add(
            "note", "eval.suite",
            "no unseen set is measured, so it will not show what the student forgets; name a set that is not trained "
            "on, for example eval.suite.unseen=[mine=PATH] (docs/evaluation.md)",
        )  # fmt: skip
    return plan
