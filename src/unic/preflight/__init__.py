"""Pre-flight: everything that can be known of a run before its first hour, on one screen."""

from __future__ import annotations

from collections.abc import Sequence
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
from unic.recipe.schema import Recipe
from unic.tokens import Tokens
from unic.training.advice import advice
from unic.training.batch_norms import SINGLE_IMAGES, batch_norms, sees_single_images
from unic.training.build import build
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
        processes: that will run it, each on a device like this one. What they wait for each other is not foreseen.
        price: of an hour of all that runs, in any currency.
        out: where the run folder would be, for the space on its disk.

    Returns:
        The report. Wrong input is among its findings and not raised, so that all of it is seen at once. Of a recipe
        with stages it is that of the first, and holds the others'.

    Raises:
        InputError: a stage does not make a recipe.
    """
    plans = recipe.plans()
    names = (
        [f"{name}, stage {number} of {len(plans)}" for number in range(1, len(plans) + 1)] if recipe.stages else [name]
    )
    first, *later = [
        _check(plan, device, Report(each), processes, price, out, plans[:place])
        for place, (plan, each) in enumerate(zip(plans, names, strict=True))
    ]
    first.stages = later
    if later and all(report.is_ready for report in (first, *later)):
        try:
            first_of(plans, device, processes)
        except InputError as error:
            later[-1].add("error", "stages", str(error))
    return first


def _check(
    recipe: Recipe,
    device: torch.device,
    report: Report,
    processes: int,
    price: float | None,
    out: Path | None,
    before: Sequence[Recipe],
) -> Report:
    encoders = load_all(recipe, device, report)
    images: ImageList | None = None
    try:
        images = ImageList.from_config(recipe.data.train, recipe.data.max_pixels, recipe.data.holdout)
        look_at(images, recipe, report)
    except InputError as error:
        report.add("error", "data", str(error))
    measured = _measured(recipe, report)
    if images is not None and measured is not None:
        find_duplicates(images, measured, report)
    if not report.is_ready or len(encoders) < len(recipe.teachers.models):
        return report
    del encoders  # built again with everything else: two copies of large teachers need not fit
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
        report.add("note", "eval.suite", "nothing measures the student at the end; eval.suite names what would")
    views = job.views(job.first_batch(min(few_images(device), recipe.train.batch_size)))
    tokens: dict[str, Tokens] = {}
    job.student.eval()
    largest, taken = (recipe.data.size, recipe.data.size), {"student": job.resolutions.grids, **job.resolutions.taken}
    for model, encoder in {"student": job.student, **job.encoders}.items():
        size = largest if largest in taken.get(model, ()) else encoder.input_size
        with beside(recipe.data.workers):  # as many threads as a step has
            row, tokens[model] = describe(model, encoder, views, size)
        report.models.append(row)
    report.facts["views"] = recipe.data.sizes or [recipe.data.size]
    compare(report.models, tokens, recipe, report)
    look_at_spread(job, report)
    if recipe.data.sizes:
        report.add("note", "data.sizes", job.resolutions.describe())
    try:
        with out_of_memory_named(job):
            sides = recipe.data.sizes or [recipe.data.size]
            trials = [try_steps(job, side, PATIENCE / len(sides)) for side in sides]
    except StoppedError as error:
        report.add("error", "memory", str(error))
        return report
    estimate(job, trials, price, out or Path("runs"), report)
    return report


def _measured(recipe: Recipe, report: Report) -> Plan | None:
    """What will be measured, opened as the evaluation and the looks while training will open it."""
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
            "nothing unseen is measured, so nothing will tell what the student forgets; name a set that is no source "
            "of training, for example eval.suite.unseen=[mine=PATH] (docs/evaluation.md)",
        )  # fmt: skip
    return plan
