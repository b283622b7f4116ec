"""Influence of each teacher on a training: its share of the gradient, and the share of images that dropping keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from unic.data.batch import Batch
from unic.data.loader import training_batches
from unic.data.mix import Mix
from unic.device import default_device
from unic.runs.metric_names import LOSS, kept_of
from unic.runs.metrics import read_metrics
from unic.training import parts
from unic.training.build import build
from unic.training.job import Job
from unic.training.step import batch_loss
from unic.training.trained import load_trained

_NUM_BATCHES = 4
_BATCH_SIZE = 32


def shares(run: Path, device: str | torch.device | None = None) -> dict[str, dict[str, float]]:
    """Shares of influence of a run's teachers. Only reads the run.

    `gradient`: the norm of the gradient of Σ_i c[t,i]·ℓ[t,i] / Σ c, teacher t's part of the loss, with respect to all
    of the student's parameters: what teachers compete for (projectors are each teacher's own). Taken with the trained
    weights and statistics in evaluation mode (no drop path, running batch-norm statistics) on the first 128 training
    images, averaged over their batches of 32, normalised to a sum of 1. Norms do not tell whether gradients agree.

    `kept`: mean of the logged `kept/T`, the share of images for which a teacher counts, over the last half of training.

    Args:
        run: the run folder.
        device: default: the GPU if there is one.

    Returns:
        `{"gradient": {teacher: share}, "kept": {teacher: share}}`; `kept` without the teachers that were never logged.

    Raises:
        InputError: not a run folder, no whole checkpoint in it, or its images or teachers are missing.
    """
    trained = load_trained(run)
    device = torch.device(device or default_device())
    with torch.random.fork_rng(devices=[]):  # building seeds the global generator, which belongs to the caller
        job = build(trained.recipe, device)
    parts.restore(job.learned(), trained.tensors)
    job.distiller.eval()
    job.standardizer.eval()
    batches = enumerate(_batches(job), start=1)
    norms = torch.stack([_gradient_norms(job, step, batch) for step, batch in batches]).mean(0)
    names = list(job.encoders)
    return {"gradient": dict(zip(names, (norms / norms.sum()).tolist(), strict=True)), "kept": _kept(run, names)}


def _batches(job: Job) -> Iterator[Batch]:
    recipe = job.recipe
    return training_batches(
        job.images,
        size=recipe.data.size,
        augment=recipe.data.augment,
        seed=recipe.seed,
        batch_size=min(_BATCH_SIZE, job.images.epoch_length()),
        first_step=1,
        num_steps=_NUM_BATCHES,
        num_views=recipe.teachers.cache.views if recipe.teachers.cache else None,
        mix=Mix.of(recipe.data.mix),
    )


def _gradient_norms(job: Job, step: int, batch: Batch) -> Float[Tensor, "t"]:
    """Norm of each teacher's gradient on one batch; `step` keys the draws of dropping."""
    loss = batch_loss(job, job.live_teachers(), batch, step)
    losses = loss.terms.losses
    parameters = [parameter for parameter in job.student.parameters() if parameter.requires_grad]
    norms = []
    for teacher in range(len(losses)):
        alone = losses.detach().clone()
        alone[teacher] = losses[teacher]
        numerator, denominator = job.weighting.weighted_sums(alone, loss.weights)
        gradients = torch.autograd.grad(numerator / denominator, parameters, retain_graph=True, allow_unused=True)
        norms.append(torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm())
    return torch.stack(norms).cpu()


def _kept(run: Path, teachers: Sequence[str]) -> dict[str, float]:
    rows = [row for row in read_metrics(run) if LOSS in row]
    late = rows[len(rows) // 2 :]
    logged = {teacher: [row[kept_of(teacher)] for row in late if kept_of(teacher) in row] for teacher in teachers}
    return {teacher: sum(values) / len(values) for teacher, values in logged.items() if values}
