"""Pre-flight: everything that can be known of a run before its first hour, on one screen."""

from __future__ import annotations

from pathlib import Path

import torch

from unic.config import Recipe
from unic.data.loader import ImageList, training_batches
from unic.distill.build import build
from unic.errors import InputError
from unic.preflight.cost import estimate, measure_step
from unic.preflight.findings import Finding, Report
from unic.preflight.images import find_duplicates, look_at
from unic.preflight.models import compare, describe, load_all
from unic.tokens import Tokens

__all__ = ["Finding", "Report", "check_recipe"]

_BATCH = {"cpu": 16, "cuda": 64}  # images that are tried


def check_recipe(
    recipe: Recipe, device: torch.device, *, name: str = "recipe", price: float | None = None, out: Path | None = None
) -> Report:
    """Builds everything that a run needs, tries it on one real batch and looks for what would go wrong.

    Args:
        price: of an hour of this machine, in any currency.
        out: where the run folder would be, for the space on its disk.

    Returns:
        The report. Wrong input is among its findings and not raised, so that all of it is seen at once.
    """
    report = Report(name)
    encoders = load_all(recipe, device, report)
    try:
        images = ImageList.from_config(recipe.data.train)
        look_at(images, recipe, report)
        find_duplicates(images, recipe, report)
    except InputError as error:
        report.add("error", "data", str(error))
    if not report.is_ready or len(encoders) < len(recipe.teachers.models):
        return report
    del encoders  # built again with everything else: two copies of large teachers need not fit
    try:
        job = build(recipe, device)
    except InputError as error:
        report.add("error", "recipe", str(error))
        return report
    batch = next(
        training_batches(
            images, size=recipe.data.size, augment=recipe.data.augment, seed=recipe.seed,
            batch_size=min(_BATCH.get(device.type, 16), recipe.train.batch_size), first_step=1, num_steps=1,
        )
    )  # fmt: skip
    index = batch.index.to(device)
    views = job.augmentation(batch.images.to(device), recipe.seed, batch.epoch, batch.index)
    tokens: dict[str, Tokens] = {}
    job.student.eval()
    for model, encoder in {"student": job.student, **job.encoders}.items():
        row, tokens[model] = describe(model, encoder, views)
        report.models.append(row)
    compare(report.models, tokens, recipe, report)
    estimate(job, measure_step(job, views, index, batch.epoch), len(views), price, out or Path("runs"), report)
    return report
