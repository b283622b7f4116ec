"""The training run: build everything, then one plain loop that knows nothing of teachers.

for every step: micro-batches → targets → losses → weights → backward; then one update of optimiser and statistics.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from unic import checkpoint
from unic.checkpoint import Checkpoint, with_prefix, without_prefix
from unic.config import Recipe
from unic.data.loader import Batch, training_batches
from unic.distill import run_folder
from unic.distill.build import Job, build, owned_pairs
from unic.distill.optimizer import learning_rate, optimizer_step
from unic.distill.teachers import CachedTeachers, LiveTeachers, Teachers, build_cache
from unic.encoders import Encoder
from unic.errors import InputError
from unic.metrics import MetricsLog, log_to
from unic.trackers import open_trackers

log = logging.getLogger("unic")

Callback = Callable[[Encoder, int], dict[str, float]]
"""Called with the student and the step every `eval.every` steps; what it returns is logged."""


class PreemptedError(Exception):
    """A signal asked the run to stop; it has saved a checkpoint. The CLI exits with 75 so that a scheduler requeues."""


@dataclass
class Run:
    """A job together with its folder and what changes while it trains."""

    job: Job
    folder: Path
    accelerator: Accelerator
    step: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    skipped: Tensor | None = None

    @property
    def is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def note_damaged(self, batch: Batch) -> None:
        self.damaged.update({name: reason for _, name, reason in batch.damaged})

    def too_many_damaged(self) -> str | None:
        """A line if more images than `data.max_damaged` of the whole set have turned out damaged, else None."""
        limit, total = self.job.recipe.data.max_damaged, len(self.job.images)
        if len(self.damaged) <= math.ceil(limit * total):
            return None
        name, reason = next(iter(self.damaged.items()))
        return (
            f"{len(self.damaged)} of {total} images are damaged, more than data.max_damaged = {limit:.2%} "
            f"(the first: {name}: {reason})"
        )

    def skipped_steps(self) -> dict[str, float]:
        """`{"skipped": n}` once a step was skipped because its gradient was not finite."""
        count = float(self.skipped) if self.skipped is not None else 0.0
        return {"skipped": count} if count else {}


def fit(
    recipe: Recipe, folder: Path, *, resume: bool = False, callback: Callback | None = None, console: Console
) -> Encoder:
    """Trains the recipe's student in `folder` and returns it.

    Args:
        resume: continue from the newest checkpoint of `folder`, or start if there is none.
        callback: see `Callback`.
        console: where progress is shown.

    Raises:
        InputError: a recipe that cannot run, a folder that is in use, a resume with other teachers.
        PreemptedError: SIGTERM, SIGUSR1 or SIGINT arrived; a checkpoint has been saved.
    """
    # Precision is the encoders' own. `cpu` must be said: else accelerate ignores torchrun on a machine without a GPU.
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
    run_folder.check_free(folder, resume)
    job = build(recipe, accelerator.device, accelerator.num_processes)
    run = Run(job, folder, accelerator)
    if resume:
        _restore(run)
    if run.is_main:
        run_folder.start(folder, recipe, accelerator)
    accelerator.wait_for_everyone()
    handler = log_to(folder) if run.is_main else None
    try:
        for line in run_folder.summary(job):
            log.info(line)
        teachers = _teachers(run, console)
        with _stop_signals() as stop_requested:
            _loop(run, teachers, callback, console, stop_requested)
        _list_damaged(run, console)
    finally:
        if handler:
            log.removeHandler(handler)
            handler.close()
    return job.student.eval()


def _loop(
    run: Run, teachers: Teachers, callback: Callback | None, console: Console, stop_requested: Callable[[], bool]
) -> None:
    job, recipe = run.job, run.job.recipe
    model = run.accelerator.prepare(job.distiller)
    if recipe.train.compile:
        model.compile()
    model.train()
    batches = Timed(_batches(run))
    metrics = _metrics(run, console) if run.is_main else None
    with metrics or nullcontext():
        for step in range(run.step + 1, job.total_steps + 1):
            values = _one_step(run, model, teachers, batches, step)
            run.step = step
            if metrics and (step % recipe.train.log_every == 0 or step in (1, job.total_steps)):
                metrics.write(step, values() | batches.rates())
            if metrics and callback and recipe.eval.every and step % recipe.eval.every == 0:
                metrics.write(step, callback(job.student.eval(), step))
                job.distiller.train()
                batches.restart()
            too_many = run.too_many_damaged()
            stop = stop_requested() or too_many is not None
            if step % recipe.checkpoint.every == 0 or step == job.total_steps or stop:
                _save(run)
            if too_many:
                raise InputError(f"{too_many}; checkpoint saved at step {step}")
            if stop and step < job.total_steps:
                raise PreemptedError(f"stopped by a signal; checkpoint saved at step {step}")


def _one_step(
    run: Run, model: torch.nn.Module, teachers: Teachers, batches: Timed, step: int
) -> Callable[[], dict[str, float]]:
    """One optimiser window: forward and backward of its micro-batches, then one update of everything that learns.

    Returns what reads this step's metrics from the device, for the steps that are logged.
    """
    job, recipe, accelerator = run.job, run.job.recipe, run.accelerator
    window = Window(accelerator)
    for micro in range(recipe.train.micro_batches):
        batch = next(batches)
        run.note_damaged(batch)
        is_last = micro + 1 == recipe.train.micro_batches
        with nullcontext() if is_last else accelerator.no_sync(model):
            crops, index = batch.images.to(job.device, non_blocking=True), batch.index.to(job.device)
            images = job.augmentation(crops, recipe.seed, batch.epoch, batch.index)
            targets = job.standardizer(teachers(images, batch.index, batch.epoch))
            losses, cosines = model(images, targets, step, index)
            weights = job.weighting.coefficients(losses, step, index, owned_pairs(job, batch.index))
            numerator, denominator = job.weighting.sums(losses, weights)
            accelerator.backward(numerator)
        window.add(losses, cosines, weights, numerator, denominator)
    window.reduce()
    train = recipe.train
    lr = learning_rate(step, job.total_steps, job.warmup_steps, job.peak_lr, train.min_lr)
    # DDP averages gradients over ranks, so the mean of the ranks' denominators is what they are divided by.
    norm, skipped = optimizer_step(job.optimizer, lr, window.denominator / accelerator.num_processes, train.clip_grad)
    job.standardizer.update((step - 1) / job.total_steps)
    run.skipped = skipped if run.skipped is None else run.skipped + skipped

    def values() -> dict[str, float]:
        learned = {"lr": lr, "grad_norm": float(norm)}
        return window.values(list(job.encoders)) | learned | run.skipped_steps()

    return values


class Window:
    """What one optimiser step adds up over its micro-batches and ranks; stays on the device until a log step."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._sums: Tensor | None = None

    def add(self, losses: Tensor, cosines: Tensor, weights: Tensor, numerator: Tensor, denominator: Tensor) -> None:
        count = losses.shape[1]
        columns = [losses.detach().sum(1), weights.sum(1), cosines[:, 0] * count, cosines[:, 1] * count]
        flat = torch.cat(
            [
                torch.stack([numerator.detach(), denominator, denominator.new_tensor(count)]),
                torch.stack(columns).flatten(),
            ]
        )
        self._sums = flat if self._sums is None else self._sums + flat

    def reduce(self) -> None:
        assert self._sums is not None
        self._sums = self._accelerator.reduce(self._sums, "sum")

    @property
    def denominator(self) -> Tensor:
        assert self._sums is not None
        return self._sums[1]

    def values(self, teachers: list[str]) -> dict[str, float]:
        """The metrics of this step, as plain numbers: the one place that reads the device."""
        assert self._sums is not None
        numerator, denominator, count, *rest = self._sums.tolist()
        columns = [rest[i : i + len(teachers)] for i in range(0, len(rest), len(teachers))]
        values = {"loss": numerator / denominator}
        for name, loss, kept, cls, patch in zip(teachers, *columns, strict=True):
            values |= {
                f"loss/{name}": loss / count,
                f"cos/{name}/cls": cls / count,
                f"cos/{name}/patch": patch / count,
                f"kept/{name}": kept / count,
            }
        return values


class Timed:
    """An iterator that knows which share of the time since the last reading was spent waiting for it."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.restart()

    def restart(self) -> None:
        self._since, self._waited, self._images = time.perf_counter(), 0.0, 0

    def __next__(self) -> Batch:
        start = time.perf_counter()
        batch = next(self._batches)
        self._waited += time.perf_counter() - start
        self._images += len(batch.index)
        return batch

    def rates(self) -> dict[str, float]:
        """Images per second of this process and the share of time spent waiting, since the last call."""
        elapsed = time.perf_counter() - self._since
        rates = {"images_per_s": self._images / elapsed, "data_wait": self._waited / elapsed}
        self.restart()
        return rates


def _batches(run: Run) -> Iterator[Batch]:
    job, recipe, accelerator = run.job, run.job.recipe, run.accelerator
    cache = recipe.teachers.cache
    return training_batches(
        job.images,
        size=recipe.data.size,
        augment=recipe.data.augment,
        seed=recipe.seed,
        batch_size=recipe.train.batch_size,
        first_step=run.step + 1,
        num_steps=job.total_steps,
        micro_batches=recipe.train.micro_batches,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        workers=recipe.data.workers,
        views=cache.views if cache else None,
        pin_memory=job.device.type == "cuda",
    )


def _metrics(run: Run, console: Console) -> MetricsLog:
    recipe = run.job.recipe
    trackers = open_trackers(recipe.trackers, run.folder, recipe.model_dump(mode="json"), run.step)
    return MetricsLog(run.folder, run.step, run.job.total_steps, console, trackers)


def _teachers(run: Run, console: Console) -> Teachers:
    job, cache = run.job, run.job.recipe.teachers.cache
    if cache is None:
        return LiveTeachers(job.encoders, job.grid)
    log.info("teacher cache: %.2f GB, %d view(s) of %d images", job.cache_bytes() / 1e9, cache.views, len(job.images))
    with run.accelerator.main_process_first(), console.status("teacher cache") as status:

        def report(what: str, done: int, total: int) -> None:
            status.update(f"teacher cache ({job.cache_bytes() / 1e9:.2f} GB): {what}, {done}/{total} images")

        recipe = job.recipe
        features, starts = build_cache(cache, job.encoders, job.grids, job.images, recipe.data, recipe.seed, report)
    for encoder in job.encoders.values():
        encoder.to("cpu")  # its work is done; a GPU's memory is better spent on the student
    return CachedTeachers(features, starts, job.grid, job.device)


def _list_damaged(run: Run, console: Console) -> None:
    """Says at the end which images were skipped; all of them are in `damaged.json`."""
    for number, (name, reason) in enumerate(run.damaged.items()):
        log.warning("damaged image: %s: %s", name, reason)
        if number < 5:
            console.print(f"damaged image, skipped: {name}: {reason}", highlight=False, markup=False, soft_wrap=True)
    if len(run.damaged) > 5:
        console.print(f"{len(run.damaged)} damaged images in all, see {run.folder / 'damaged.json'}", highlight=False)


def _save(run: Run) -> None:
    if run.is_main:
        job = run.job
        tensors = {
            **with_prefix("distiller.", job.distiller.state_dict()),
            **with_prefix("standardizer.", job.standardizer.state_dict()),
            **with_prefix("optimizer.", checkpoint.flatten_optimizer(job.optimizer)),
            "rng": torch.get_rng_state(),  # only drawn from by dropout layers; everything else is keyed (unic.rng)
        }
        state: dict[str, Any] = {"identity": run_folder.identity(job), "damaged": run.damaged}
        checkpoint.save(run.folder, Checkpoint(run.step, tensors, state), job.recipe.checkpoint.keep)
        checkpoint.write_atomically(run.folder / "damaged.json", json.dumps(list(run.damaged.items())))
    run.accelerator.wait_for_everyone()


def _restore(run: Run) -> None:
    found = checkpoint.load_newest(run.folder)
    if found is None:
        return
    saved, problems = found
    for problem in problems:
        log.warning(problem)
    run_folder.check_same(saved.state["identity"], run_folder.identity(run.job))
    run.job.distiller.load_state_dict(without_prefix("distiller.", saved.tensors))
    run.job.standardizer.load_state_dict(without_prefix("standardizer.", saved.tensors))
    checkpoint.restore_optimizer(run.job.optimizer, without_prefix("optimizer.", saved.tensors))
    torch.set_rng_state(saved.tensors["rng"])
    run.damaged = dict(saved.state["damaged"])
    run.step = saved.step


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turns SIGTERM, SIGUSR1 and the first SIGINT into a flag that the loop reads between steps."""
    received: list[int] = []

    def handle(number: int, frame: object) -> None:
        if number == signal.SIGINT and signal.SIGINT in received:
            raise KeyboardInterrupt
        received.append(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)]
    try:
        previous = {number: signal.signal(number, handle) for number in numbers}
    except ValueError:  # not the main thread (a notebook's worker, say): signals stay as they are
        previous = {}
    try:
        yield lambda: bool(received)
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
