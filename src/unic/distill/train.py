"""The training run: build everything, then one plain loop that knows nothing of teachers.

for every step: micro-batches → targets → losses → weights → backward; then one update of optimiser and statistics.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console

from unic import checkpoint, cores
from unic.arguments import argument
from unic.checkpoint import Checkpoint, with_prefix, without_prefix
from unic.config import Recipe
from unic.data.loader import Batch, training_batches
from unic.data.mix import Mix
from unic.distill import engine, lock, patience, recorded, rendezvous, run_folder, stages
from unic.distill.build import build
from unic.distill.diagnosis import write_case
from unic.distill.interpolate import interpolate
from unic.distill.memory import out_of_memory_named
from unic.distill.optimizer import learning_rate, optimizer_step
from unic.distill.pull import pull_towards
from unic.distill.rules import first_learning_rate, under_first_rules
from unic.distill.run import Run
from unic.distill.saver import Saver
from unic.distill.start import carried, restored, start_of
from unic.distill.teacher_cache import open_cache
from unic.distill.teachers import Teachers
from unic.distill.timed import Timed
from unic.distill.watch import Agreement, peers, process_group
from unic.distill.window import Window, undo
from unic.encoders import Encoder
from unic.errors import AgreedError, InputError, PreemptedError, StoppedError
from unic.metrics import MetricsLog, log_to
from unic.outputs import check_writable
from unic.signals import StopSignals, stop_signals
from unic.terminal import describe, tell
from unic.trackers import open_trackers

log = logging.getLogger("unic")

Callback = Callable[[Encoder, int], dict[str, float]]
"""Called with the student and the step every `eval.every` steps; what it returns is logged."""


def fit(
    recipe: Recipe, folder: Path, *, resume: bool = False, callback: Callback | None = None, console: Console
) -> Encoder:
    """Trains the recipe's student in `folder` and returns it.

    Args:
        resume: continue from the newest checkpoint of `folder`, or start if there is none; so does torchrun's restart.
        callback: see `Callback`.
        console: where progress is shown.

    Raises:
        InputError: a recipe that cannot run, a folder that is in use, a resume with other teachers.
        PreemptedError: SIGTERM, SIGUSR1, SIGINT or SIGHUP arrived; what was done is saved.
        StoppedError: a full disk, another process that is gone or silent, or losses that are not finite.
    """
    # Precision is the encoders' own. `cpu` must be said: else accelerate ignores torchrun on a machine without a GPU.
    rendezvous.join(recipe.train.timeout)
    group = process_group(recipe.train.timeout)
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available(), kwargs_handlers=[group])
    resume = resume or engine.is_relaunched()
    if accelerator.is_main_process:
        check_writable(folder, named=argument("out"), kind="folder")
        lock.check(folder)
    run_folder.check_free(folder, resume)
    with ExitStack() as stack:
        stack.enter_context(engine.ended(accelerator))
        stack.enter_context(peers(accelerator, recipe.train.timeout))
        stops = stack.enter_context(stop_signals())
        with stops.at_once("while the models were loaded"):
            run = _first_stage(recipe, folder, accelerator, console, resume)
        if accelerator.is_main_process:
            stack.enter_context(lock.held(folder))
            run_folder.check_free(folder, resume)  # again: another run may have begun while this one was built
        stack.enter_context(stops.noted())
        while not run.is_last_stage:
            _fit_stage(run, callback, console, stops)
            with _at_once(run, stops, f"before step {run.step + 1}"):
                run = _next_stage(run)
        return _fit_stage(run, callback, console, stops)


def _at_once(run: Run, stops: StopSignals, when: str) -> AbstractContextManager[None]:
    """A block that a signal ends as it arrives, but where others wait for this process: then all stop after a step."""
    return stops.at_once(when) if run.accelerator.num_processes == 1 else nullcontext()


def _first_stage(recipe: Recipe, folder: Path, accelerator: Accelerator, console: Console, resume: bool) -> Run:
    """The run at its start, or where its newest checkpoint left it; the stages to come are built once, as a trial."""
    saved = _newest(folder, recipe) if resume else None
    models = recorded.models_of(saved.state) if saved else recorded.NONE
    if models["before"]:
        recipe = under_first_rules(recipe)
    plans = [recorded.as_recorded(plan, models) for plan in recipe.plans()]
    stage = saved.state.get("stage", 0) if saved else 0
    if stage >= len(plans):
        raise InputError(f"{argument('resume')}: the run was in stage {stage + 1}, the recipe has {len(plans)}")
    job = stages.first_of(plans[stage:], accelerator.device, accelerator.num_processes)
    run = Run(
        job, folder, accelerator, Agreement(accelerator, recipe.train.timeout), recipe, stage, models=models,
        start=start_of(job, plans),
    )  # fmt: skip
    run.saver = Saver(folder, recipe.checkpoint, lambda line: tell(console, line))
    if saved:
        _restore(run, saved)
        run.saver.resume(saved.state)
    return run


def _fit_stage(run: Run, callback: Callback | None, console: Console, stops: StopSignals) -> Encoder:
    """One stage, from where it is to its end."""
    job, folder, accelerator = run.job, run.folder, run.accelerator
    if run.is_main:
        run_folder.start(folder, run.recipe, accelerator)
    accelerator.wait_for_everyone()
    handler = log_to(folder) if run.is_main else None
    try:
        lines = [*run_folder.summary(job, run.recipe.plans()[: run.stage]), *run.news]
        for line in [*lines, cores.described(job.recipe.data.workers)]:
            log.info(line)
        if run.is_main:
            with suppress(OSError):  # a terminal that is closed ends no run
                describe(console, lines)
        if run.is_main and run.models["before"]:
            line = recorded.kept(run.recipe.plans()[run.stage], run.models)
            log.warning(line)
            tell(console, line)
        with out_of_memory_named(job):
            teachers = _teachers(run, console, stops)
            rank = accelerator.process_index
            run.guard.diagnose = lambda step, batches: write_case(job, teachers, folder, step, batches, rank)
            # A signal may have come while this stage was built, or in the last save of the one before.
            if run.agreement.any(stops())[0] and not (run.is_finished and run.is_last_stage):
                raise PreemptedError(
                    f"stopped by a signal before step {run.step + 1}; continue with {argument('resume', True)}"
                )
            with run.saver:
                _loop(run, teachers, callback, console, stops)
        if run.is_main and run.is_last_stage:
            _list_damaged(run, console)
        return _leaving(run, console, stops) if run.is_last_stage else run.deployed()
    except (InputError, StoppedError) as error:
        log.error("%s", error)
        raise
    finally:
        if handler:
            log.removeHandler(handler)
            handler.close()


def _loop(run: Run, teachers: Teachers, callback: Callback | None, console: Console, stops: StopSignals) -> None:
    job, recipe = run.job, run.job.recipe
    model = engine.prepare(job, run.accelerator)
    if run.ema:
        run.ema.follow(job.distiller)
    if recipe.train.pull:
        pull_towards(run.start, job.student, job.optimizer, recipe.train.pull)
    model.train()
    batches = Timed(teachers.ahead(_batches(run)), lambda: _at_once(run, stops, f"before step {run.step + 1}"))
    metrics = _metrics(run, console) if run.is_main else None

    def tell(step: int, values: dict[str, float]) -> None:
        if metrics:
            metrics.write(step, values)
            run.saver.note(values)

    with metrics or nullcontext():
        for step in () if run.is_finished else range(run.step + 1, run.last + 1):
            with _abandoned(run), cores.beside(recipe.data.workers):
                values = _one_step(run, model, teachers, batches, step)
            run.step = step
            if metrics:
                metrics.advance(step)
            if step % recipe.train.log_every == 0 or step in (1, run.last):
                tell(step, values() | batches.rates())
                run.guard.check()
            if callback and recipe.eval.every and step % recipe.eval.every == 0:
                student = run.deployed()
                with run.agreement.waiting():
                    if run.is_main:
                        scores = callback(student, step)
                        run.patience.see(scores)
                        tell(step, scores)
                job.distiller.train()
                batches.restart()
            stop, news, enough = run.agreement.any(stops(), run.has_news, run.patience.is_over)
            if news:
                run.share_damaged()
            too_many = run.too_many_damaged()
            run.is_finished = enough or step == run.last
            ends = stop or run.is_finished or too_many is not None
            if ends or step % recipe.checkpoint.every == 0:
                _save(run, is_last=ends)
            if too_many:
                raise AgreedError(f"{too_many}; checkpoint saved at step {step}")
            if stop and not (run.is_finished and run.is_last_stage):
                raise PreemptedError(
                    f"stopped by a signal; checkpoint saved at step {step}; continue with {argument('resume', True)}"
                )
            if enough:
                log.info("step %d: knn/mean has not improved for %d looks (eval.patience)", step, recipe.eval.patience)
                break


@contextmanager
def _abandoned(run: Run) -> Iterator[None]:
    """Saves where a step cannot be finished for want of images: a signal came meanwhile, a worker has died or hangs, or
    a source fails.

    Of several processes the others wait for the gradients of this step, so none of them can save.
    """
    put_back = undo(run.job)
    try:
        yield
    except (PreemptedError, StoppedError, InputError) as error:
        said = "stopped by a signal" if isinstance(error, PreemptedError) else str(error)
        if run.accelerator.num_processes > 1:
            raise StoppedError(
                f"{said}; continue from the newest checkpoint with {argument('resume', True)}"
            ) from error
        put_back()
        if checkpoint.newest_step(run.folder) != run.step:  # what is whole already is not written again
            _save(run, is_last=True)
        raise type(error)(
            f"{said}; checkpoint saved at step {run.step}; continue with {argument('resume', True)}"
        ) from error


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
        with nullcontext() if is_last else engine.accumulating(model, accelerator):
            forward = job.forward(teachers, batch, step, model)
            numerator, denominator = job.sums(forward)
            accelerator.backward(numerator)
        window.add(forward, numerator, denominator)
    window.reduce()
    train = recipe.train
    own = step - run.first  # each stage has schedules of its own
    rate = first_learning_rate if run.models["before"] else learning_rate
    lr = rate(own, job.total_steps, job.warmup_steps, job.peak_lr, train.min_lr) * run.guard.lr_scale
    # DDP and FSDP2 average gradients over ranks, so the mean of the ranks' denominators is what they are divided by.
    denominator = window.denominator / accelerator.num_processes
    learns = step > 1 or not job.standardizer.needs_first_batch
    norm, skipped = optimizer_step(job.optimizer, lr, denominator, train.clip_grad, update=learns)
    job.standardizer.update((own - 1) / job.total_steps)
    if run.ema:
        run.ema.update(step)
    run.guard.count(skipped)

    def values() -> dict[str, float]:
        learned = {"lr": lr, "grad_norm": float(norm)}
        return window.values(list(job.encoders)) | learned | job.standardizer.values() | run.guard.values()

    return values


def _batches(run: Run) -> Iterator[Batch]:
    job, recipe, accelerator = run.job, run.job.recipe, run.accelerator
    cache = recipe.teachers.cache
    before = run.first_epoch * job.steps_per_epoch  # counted through: a later stage sees new views
    return training_batches(
        job.images,
        size=recipe.data.sizes or recipe.data.size,
        augment=recipe.data.augment,
        seed=recipe.seed,
        batch_size=recipe.train.batch_size,
        first_step=before + run.step - run.first + 1,
        num_steps=before + job.total_steps,
        micro_batches=recipe.train.micro_batches,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        workers=recipe.data.workers,
        timeout=recipe.data.timeout,
        views=cache.views if cache else None,
        mix=Mix.of(recipe.data.mix),
        pin_memory=job.device.type == "cuda",
    )


def _metrics(run: Run, console: Console) -> MetricsLog:
    recipe = run.job.recipe
    trackers = open_trackers(recipe.trackers, run.folder, recipe.shared(recipe.model_dump(mode="json")), run.step)
    return MetricsLog(run.folder, run.step, run.last, console, trackers)


def _teachers(run: Run, console: Console, stops: StopSignals) -> Teachers:
    job = run.job
    if job.recipe.teachers.cache is None:
        return job.live_teachers(compile=job.recipe.train.compile)
    rank, world_size = run.accelerator.process_index, run.accelerator.num_processes

    def announce(line: str) -> None:
        log.info(line)
        tell(console, line)

    def report(line: str) -> None:
        end_if_asked("while the teacher cache was built")
        status.update(line)

    def end_if_asked(when: str) -> None:
        if is_asked_to_stop():
            raise PreemptedError(f"stopped by a signal {when}; continue with {argument('resume', True)}")

    with (
        console.status("teacher cache") as status,
        run.agreement.waiting(stops) as is_asked_to_stop,
        _at_once(run, stops, "while the teacher cache was built"),
    ):
        cached = open_cache(job, rank, world_size, announce, report)
    end_if_asked(f"before step {run.step + 1}")  # another process may have been, after this one had built its part
    return cached


def _leaving(run: Run, console: Console, stops: StopSignals) -> Encoder:
    """The student that leaves the run: as trained, or in the first process between start and end."""
    student = run.deployed()
    if run.job.recipe.train.interpolate is None:
        return student

    def announce(line: str) -> None:
        log.info(line)
        tell(console, line)

    with (
        console.status("interpolation") as status,
        _at_once(run, stops, "after the training, before train.interpolate had ended"),
        run.agreement.waiting(),
    ):
        if run.is_main:
            folder, step = run.folder, run.step
            student = interpolate(run.job, student, run.start, folder, step, tell=announce, report=status.update)
    return student


def _list_damaged(run: Run, console: Console) -> None:
    """Says at the end which images were skipped; all of them are in `damaged.json`."""
    for number, (name, reason) in enumerate(run.damaged.items()):
        log.warning("damaged image: %s: %s", name, reason)
        if number < 5:
            tell(console, f"damaged image, skipped: {name}: {reason}")
    if len(run.damaged) > 5:
        tell(console, f"{len(run.damaged)} damaged images in all, see {run.folder / 'damaged.json'}")


def _save(run: Run, *, is_last: bool) -> None:
    job = run.job
    tensors = engine.whole(
        {
            **with_prefix("distiller.", job.distiller.state_dict()),
            **with_prefix("ema.", run.ema.tensors if run.ema else {}),
            **with_prefix("start.", run.start),
            **with_prefix("standardizer.", job.standardizer.state_dict()),
            **with_prefix("optimizer.", checkpoint.flatten_optimizer(job.optimizer)),
            "rng": torch.get_rng_state(),  # only drawn from by dropout layers; everything else is keyed (unic.rng)
        },
        keep=run.is_main,
    )
    if run.is_main:
        state: dict[str, Any] = {
            "identity": run.identity, "damaged": run.damaged, "guard": run.guard.state(), "stage": run.stage,
            "first": run.first, "first_epoch": run.first_epoch, "is_finished": run.is_finished,
            "patience": run.patience.state(), "queries": patience.QUERIES, "models": run.models,
            "folder": os.getcwd(), "written": dict(run.recipe.written),
        }  # fmt: skip
        run.saver.save(run.step, tensors, state, must=is_last)
        with suppress(OSError):  # a full disk is the saver's to tell; the list is in the checkpoint, too
            _write_damaged(run)
    run.accelerator.wait_for_everyone()


def _write_damaged(run: Run) -> None:
    """The list of images that could not be read; no file while there is none."""
    path = run.folder / "damaged.json"
    if run.damaged:
        checkpoint.write_atomically(path, json.dumps(list(run.damaged.items())))
    else:
        path.unlink(missing_ok=True)


def _newest(folder: Path, recipe: Recipe) -> Checkpoint | None:
    found = checkpoint.load_newest(folder)
    if found is None:
        return None
    for problem in found[1]:
        log.warning(problem)
    return replace(found[0], state=patience.of_today(found[0].state, recipe.checkpoint.best))


def _restore(run: Run, saved: Checkpoint) -> None:
    run.news = run_folder.check_same(saved.state["identity"], run.identity)
    run.news.append(f"resumed: step {saved.step} is done, by checkpoints/step-{saved.step} of {run.folder}")
    recorded.check_student(recorded.models_of(saved.state), run.models)
    run.job.distiller.load_state_dict(without_prefix("distiller.", saved.tensors))
    run.job.standardizer.load_state_dict(without_prefix("standardizer.", saved.tensors))
    if run.ema:
        run.ema.load(without_prefix("ema.", saved.tensors))
    run.start = restored(run.start, without_prefix("start.", saved.tensors))
    if run.job.anchor:
        run.job.anchor.load(run.start)
    checkpoint.restore_optimizer(run.job.optimizer, without_prefix("optimizer.", saved.tensors))
    torch.set_rng_state(saved.tensors["rng"])
    run.damaged = dict(saved.state["damaged"])
    run.guard.resume(saved.state.get("guard", {}), run.job.device)
    run.patience.resume(saved.state.get("patience", {}))
    run.first, run.first_epoch = saved.state.get("first", 0), saved.state.get("first_epoch", 0)
    if run.stage and "first_epoch" not in saved.state:
        raise InputError(
            f"{argument('resume')}: an earlier version of unic wrote this run's later stages, in another order of "
            "images"
        )
    run.is_finished = saved.state.get("is_finished", False)
    run.step = saved.step


def _next_stage(run: Run) -> Run:
    """The run in its next stage: what was trained goes over, the optimiser and the schedules start anew."""
    before = run.job
    trained, average = engine.whole(before.distiller.state_dict()), engine.whole(run.ema.tensors if run.ema else {})
    run.accelerator.free_memory()  # or it would keep every stage's model
    plan = recorded.as_recorded(run.recipe.plans()[run.stage + 1], run.models)
    job = build(plan, run.accelerator.device, run.accelerator.num_processes)
    stages.carry(trained, job.distiller, before.own_grid, job.own_grid)
    job.standardizer.load_state_dict(before.standardizer.state_dict())
    after = Run(
        job, run.folder, run.accelerator, run.agreement, run.recipe, run.stage + 1, run.step,
        run.first_epoch + math.ceil((run.step - run.first) / before.steps_per_epoch), run.step, run.damaged,
        models=run.models, start=carried(run.start, trained, before, job),
    )  # fmt: skip
    if job.anchor:
        job.anchor.load(after.start)
    if after.ema and average:
        after.ema.load(stages.resampled(average, job.distiller, before.own_grid, job.own_grid))
    after.saver = run.saver
    return after
