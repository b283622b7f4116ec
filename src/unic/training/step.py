"""The path of a batch: views, targets, losses, loss; then backward and one update of everything that learns.

Σ c·ℓ / Σ c needs the denominator of all micro-batches and ranks, which is known only after the last one. So the
backward pass starts from the numerator, and the division is part of the update (`unic.training.optimizer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

from torch import nn

from unic.data.batch import Batch
from unic.runs.metric_names import GRAD_NORM, LR
from unic.shapes import check_shape
from unic.training import engine
from unic.training.job import Job
from unic.training.optimizer import optimizer_step
from unic.training.stage import Stage
from unic.training.teachers import TokenSource
from unic.training.window import BatchLoss, Window
from unic.weightings import Pairs


def batch_loss(job: Job, teachers: TokenSource, batch: Batch, step: int, model: nn.Module | None = None) -> BatchLoss:
    """The loss of a batch. Training, the trial before it, `unic check` and the diagnosis of a step all use it.

    Args:
        job: job of the stage.
        teachers: live, or read from their cache.
        batch: on the CPU.
        step: keys random draws.
        model: the distiller as it is wrapped for several processes; default: `job.distiller`.

    Raises:
        InputError: a standardiser, a projector, a loss or a weighting returns another shape than it should.
    """
    index = batch.index.to(job.device, non_blocking=True)
    key = index.new_full((), step)  # an int would be a constant of the graph, which step 2 would compile again
    views = job.views(batch)  # (b, 3, h, w) in [0, 1]
    outputs = teachers(views, batch.index, batch.view, batch.images)
    targets = job.standardizer(outputs)  # (y − μ) / (σ + ε), by the statistics from before this batch
    terms = (job.distiller if model is None else model)(views, targets, key, index)  # student, projectors: ℓ[t, i]
    owned = job.owned(batch.index)
    pairs = Pairs(terms.losses.detach(), step, index, owned, terms.cls.detach(), terms.gradients)
    weights = job.weighting.coefficients(pairs)  # c[t, i]
    named = f"weighting '{job.recipe.weighting.type}': coefficients"
    check_shape(named, weights, pairs.losses.shape, "(teachers, images)")
    held = None if job.anchor is None else job.anchor(views, terms.cls, batch.index)
    losses = terms.losses if held is None else terms.losses + held.terms
    numerator, denominator = job.weighting.weighted_sums(losses, weights)  # Σ w·c·ℓ and Σ w·c
    return BatchLoss(outputs, targets, terms, pairs, weights, held, numerator, denominator)


def training_step(
    stage: Stage, model: nn.Module, teachers: TokenSource, batches: Iterator[Batch], step: int
) -> Callable[[], dict[str, float]]:
    """One step of the optimiser: forward and backward of its micro-batches, then one update.

    Args:
        stage: the stage that is trained.
        model: the distiller, perhaps wrapped for several processes.
        teachers: live, or read from their cache.
        batches: micro-batches of this process.
        step: counted through all stages, from 1.

    Returns:
        A function that reads the metrics of this step from the device, for the steps that are logged.
    """
    job, train, accelerator = stage.job, stage.job.recipe.train, stage.run.accelerator
    window = Window(accelerator)
    seen = []
    for micro_batch in range(train.micro_batches):
        batch = next(batches)
        stage.run.damaged.note(batch)
        stage.guard.see(step, batch)
        is_last = micro_batch + 1 == train.micro_batches
        with nullcontext() if is_last else engine.accumulating(model, accelerator):
            loss = batch_loss(job, teachers, batch, step, model)
            loss.numerator.backward()
        window.add(loss, job.weighting.observe_unweighted(loss.pairs, loss.weights))
        seen.append(job.loss_states.seen(loss.targets))
    window.reduce()  # over the processes

    lr = stage.learning_rate(step)
    # DDP and FSDP2 average gradients over ranks, so they are divided by the mean of the ranks' denominators.
    denominator = window.denominator / accelerator.num_processes
    learns = step > job.standardizer.first_steps
    norm, skipped = optimizer_step(job.optimizer, lr, denominator, train.clip_grad, update=learns)
    job.standardizer.update((stage.progress(step) - 1) / job.total_steps)
    if learns:
        job.weighting.end_step(window.observed)
        job.loss_states.end_step(seen, train.batch_size, accelerator)
    if stage.ema:
        stage.ema.update(step)
    stage.guard.count(skipped)

    def values() -> dict[str, float]:
        learned = {LR: lr, GRAD_NORM: float(norm)}
        return window.values(list(job.encoders)) | learned | job.standardizer.values() | stage.guard.values()

    return values
