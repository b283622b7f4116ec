"""The training run: build everything, then one plain loop that knows nothing of teachers.

for every step: micro-batches → targets → losses → weights → backward; then one update of optimiser and statistics.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console

from unic import checkpoint
from unic.checkpoint import with_prefix, without_prefix
from unic.config import Recipe
from unic.data.loader import Batch, training_batches
from unic.distill import lock, run_folder
from unic.distill.build import build
from unic.distill.diagnosis import write_case
from unic.distill.guard import Guard
from unic.distill.memory import out_of_memory_named
from unic.distill.optimizer import learning_rate, optimizer_step
from unic.distill.run import Run
from unic.distill.saver import Saver
from unic.distill.signals import PreemptedError, stop_signals
from unic.distill.teachers import CachedTeachers, LiveTeachers, Teachers, build_cache
from unic.distill.timed import Timed
from unic.distill.watch import Agreement, peers, process_group
from unic.distill.window import Window
from unic.encoders import Encoder
from unic.errors import InputError
from unic.metrics import MetricsLog, log_to
from unic.trackers import open_trackers

log = logging.getLogger("unic")

Callback = Callable[[Encoder, int], dict[str, float]]
"""Called with the student and the step every `eval.every` steps; what it returns is logged."""


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
        StoppedError: a full disk, another process that is gone, or losses that are not finite.
    """
    # Precision is the encoders' own. `cpu` must be said: else accelerate ignores torchrun on a machine without a GPU.
    group = process_group(recipe.train.timeout)
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available(), kwargs_handlers=[group])
    if accelerator.is_main_process:
        lock.check(folder)
    run_folder.check_free(folder, resume)
    with ExitStack() as stack:
        stack.enter_context(peers(accelerator, recipe.train.timeout))
        job = build(recipe, accelerator.device, accelerator.num_processes)
        stack.enter_context(out_of_memory_named(job))
        if accelerator.is_main_process:
            stack.enter_context(lock.held(folder))
            run_folder.check_free(folder, resume)  # again: another run may have begun while this one was built
        return _fit(Run(job, folder, accelerator), resume, callback, console)


def _fit(run: Run, resume: bool, callback: Callback | None, console: Console) -> Encoder:
    job, folder, recipe, accelerator = run.job, run.folder, run.job.recipe, run.accelerator
    teachers: list[Teachers] = []
    rank = accelerator.process_index
    run.guard = Guard(recipe.train, lambda step, batches: write_case(job, teachers[0], folder, step, batches, rank))
    run.saver = Saver(folder, recipe.checkpoint, lambda line: console.print(line, highlight=False, markup=False))
    if resume:
        _restore(run)
    if run.is_main:
        run_folder.start(folder, recipe, accelerator)
    accelerator.wait_for_everyone()
    handler = log_to(folder) if run.is_main else None
    try:
        for line in run_folder.summary(job):
            log.info(line)
        teachers.append(_teachers(run, console))
        with stop_signals() as stop_requested, run.saver:
            _loop(run, teachers[0], callback, console, stop_requested)
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
    agreement = Agreement(run.accelerator, recipe.train.timeout)

    def tell(step: int, values: dict[str, float]) -> None:
        if metrics:
            metrics.write(step, values)
            run.saver.note(values)

    with metrics or nullcontext():
        for step in range(run.step + 1, job.total_steps + 1):
            values = _one_step(run, model, teachers, batches, step)
            run.step = step
            if step % recipe.train.log_every == 0 or step in (1, job.total_steps):
                tell(step, values() | batches.rates())
                run.guard.check()
            if metrics and callback and recipe.eval.every and step % recipe.eval.every == 0:
                tell(step, callback(job.student.eval(), step))
                job.distiller.train()
                batches.restart()
            too_many = run.too_many_damaged()
            stop = agreement.any(stop_requested() or too_many is not None)
            if step % recipe.checkpoint.every == 0 or step == job.total_steps or stop:
                _save(run, is_last=stop or step == job.total_steps)
            if stop and agreement.any(too_many is not None):
                raise InputError(f"{too_many or 'too many damaged images'}; checkpoint saved at step {step}")
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
        run.guard.see(step, batch)
        is_last = micro + 1 == recipe.train.micro_batches
        with nullcontext() if is_last else accelerator.no_sync(model):
            crops, index = batch.images.to(job.device, non_blocking=True), batch.index.to(job.device)
            images = job.augmentation(crops, recipe.seed, batch.epoch, batch.index)
            targets = job.standardizer(teachers(images, batch.index, batch.epoch))
            losses, cosines = model(images, targets, step, index)
            weights = job.weighting.coefficients(losses, step, index)
            numerator, denominator = job.weighting.sums(losses, weights)
            accelerator.backward(numerator)
        window.add(losses, cosines, weights, numerator, denominator)
    window.reduce()
    train = recipe.train
    lr = learning_rate(step, job.total_steps, job.warmup_steps, job.peak_lr, train.min_lr) * run.guard.lr_scale
    # DDP averages gradients over ranks, so the mean of the ranks' denominators is what they are divided by.
    norm, skipped = optimizer_step(job.optimizer, lr, window.denominator / accelerator.num_processes, train.clip_grad)
    job.standardizer.update((step - 1) / job.total_steps)
    run.guard.count(skipped)

    def values() -> dict[str, float]:
        learned = {"lr": lr, "grad_norm": float(norm)}
        return window.values(list(job.encoders)) | learned | run.guard.values()

    return values


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


def _save(run: Run, *, is_last: bool) -> None:
    if run.is_main:
        job = run.job
        tensors = {
            **with_prefix("distiller.", job.distiller.state_dict()),
            **with_prefix("standardizer.", job.standardizer.state_dict()),
            **with_prefix("optimizer.", checkpoint.flatten_optimizer(job.optimizer)),
            "rng": torch.get_rng_state(),  # only drawn from by dropout layers; everything else is keyed (unic.rng)
        }
        state: dict[str, Any] = {
            "identity": run_folder.identity(job), "damaged": run.damaged, "guard": run.guard.state(),
        }  # fmt: skip
        run.saver.save(run.step, tensors, state, must=is_last)
        with suppress(OSError):  # a full disk is the saver's to tell; the list is in the checkpoint, too
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
    run.guard.resume(saved.state.get("guard", {}), run.job.device)
    run.saver.resume(saved.state)
    run.step = saved.step
