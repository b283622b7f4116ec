"""The training run: builds everything, then runs one plain loop that knows nothing of teachers.

`unic.training.step` is the step of the loop, and `unic.training.stage` saves and restores.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from rich.console import Console

from unic import cores
from unic.arguments import argument
from unic.encoders import Encoder
from unic.errors import AgreedError, InputError, PreemptedError, Remedy, StoppedError
from unic.outputs import check_writable
from unic.recipe.schema import Recipe
from unic.runs import checkpoint
from unic.runs.folder import check_free
from unic.runs.metric_names import KNN_MEAN
from unic.runs.metrics import MetricsLog, logged_to
from unic.signals import stop_signals
from unic.training import engine, lock, rendezvous
from unic.training.diagnosis import write_case
from unic.training.environment import write_start
from unic.training.interpolate import interpolate
from unic.training.memory import out_of_memory_named
from unic.training.open_teachers import open_teachers
from unic.training.pull import pull_towards
from unic.training.recorded import notice_of_rules
from unic.training.stage import Stage
from unic.training.stages import first_stage, next_stage
from unic.training.step import training_step
from unic.training.summary import summary
from unic.training.teachers import Teachers
from unic.training.timed import Timed
from unic.training.trackers import open_trackers
from unic.training.untraced import Changed
from unic.training.watch import peers, process_group

log = logging.getLogger("unic")

Callback = Callable[[Encoder, int], dict[str, float]]
"""Called with the student and the step every `eval.every` steps; what it returns is logged."""


def fit(
    recipe: Recipe, folder: Path, *, resume: bool = False, callback: Callback | None = None, console: Console
) -> Encoder:
    """Trains the recipe's student in `folder` and returns it.

    Args:
        recipe: recipe of the run.
        folder: the run folder.
        resume: continue from the newest checkpoint of `folder`, or start if there is none. A restart by torchrun
            always resumes.
        callback: see `Callback`.
        console: where progress is shown.

    Raises:
        InputError: a recipe that cannot run, a folder that is in use, a resume with other teachers.
        PreemptedError: SIGTERM, SIGUSR1, SIGINT or SIGHUP arrived; finished steps are saved.
        StoppedError: a full disk, another process that is gone or silent, or losses that are not finite.
    """
    # Encoders set their own precision. Without `cpu` accelerate ignores torchrun on a machine that has no GPU.
    rendezvous.join(recipe.train.timeout)
    # Gradients lie in the buckets that DDP exchanges, not beside them: 4 bytes less for each trained parameter.
    handlers = [process_group(recipe.train.timeout), DistributedDataParallelKwargs(gradient_as_bucket_view=True)]
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available(), kwargs_handlers=handlers)
    resume = resume or engine.is_relaunched()
    if accelerator.is_main_process:
        check_writable(folder, named=argument("out"), kind="folder")
        lock.check(folder)
    check_free(folder, resume)
    with ExitStack() as stack:
        stack.enter_context(engine.ended(accelerator))
        stack.enter_context(peers(accelerator, recipe.train.timeout))
        stops = stack.enter_context(stop_signals())
        with stops.at_once("while the models were loaded"):
            stage = first_stage(recipe, folder, accelerator, console, stops, resume=resume)
        run = stage.run
        if run.is_main:
            stack.enter_context(lock.held(folder))
            check_free(folder, resume)  # again, because another run may have begun while this one was built
        stack.enter_context(stops.noted())
        while not stage.is_last:
            _fit_stage(stage, callback)
            with run.at_once(f"before step {stage.position.step + 1}"):
                stage = next_stage(stage)
        return _fit_stage(stage, callback)


def _fit_stage(stage: Stage, callback: Callback | None) -> Encoder:
    """Trains a stage from its position to its end."""
    run, job = stage.run, stage.job
    if run.is_main:
        write_start(run.folder, run.recipe, run.accelerator)
    run.accelerator.wait_for_everyone()
    with logged_to(run.folder) if run.is_main else nullcontext():
        try:
            _describe(stage)
            with out_of_memory_named(job):
                teachers = open_teachers(stage)
                # A signal may have arrived while this stage was built, or in the last save of the one before.
                if run.agreement.any(run.stops())[0] and not stage.is_over:
                    raise PreemptedError(
                        f"stopped by a signal before step {stage.position.step + 1}",
                        remedy=Remedy("continue", argument("resume", True)),
                    )
                with run.saver:
                    _loop(stage, teachers, callback)
            if run.is_main and stage.is_last:
                run.list_damaged()
            return _final_student(stage) if stage.is_last else stage.deployed()
        except (InputError, StoppedError) as error:
            log.error("%s", error)
            raise


def _describe(stage: Stage) -> None:
    """Shows and logs what was built, and where a resumed run continues."""
    run, job, index = stage.run, stage.job, stage.position.stage
    lines = summary(job, run.recipe.plans()[:index])
    run.describe([*lines, *stage.news])
    log.info(cores.described(job.recipe.data.workers))
    if run.is_main and stage.record.is_of_before:
        line = notice_of_rules(run.recipe.plans()[index], stage.record.models)
        log.warning(line)
        run.show(line)


def _loop(stage: Stage, teachers: Teachers, callback: Callback | None) -> None:
    run, job, position = stage.run, stage.job, stage.position
    recipe = job.recipe
    model = engine.prepare(job, run.accelerator)
    if stage.ema:
        stage.ema.follow(job.distiller)
    if recipe.train.pull:
        pull_towards(stage.start.weights, job.student, job.optimizer, recipe.train.pull)
    model.train()
    batches = Timed(teachers.ahead(stage.batches()), lambda: run.at_once(f"before step {position.step + 1}"))
    diagnose = partial(write_case, job, teachers, run.folder, rank=run.accelerator.process_index)
    with _metrics(stage) if run.is_main else nullcontext() as metrics:
        for step in () if position.is_finished else range(position.step + 1, stage.last_step + 1):
            with _abandoned(stage), cores.beside(recipe.data.workers):
                values = training_step(stage, model, teachers, batches, step)
            position.step = step
            if metrics:
                metrics.advance(step)
            if step % recipe.train.log_every == 0 or step in (1, stage.last_step):
                _record(stage, metrics, values() | batches.rates())
                stage.guard.check(diagnose)
            if callback and recipe.eval.every and step % recipe.eval.every == 0:
                _evaluate(stage, metrics, callback)
                batches.restart()
            stop, has_news, enough = run.agreement.any(run.stops(), run.damaged.has_news, stage.patience.is_over)
            if has_news:
                run.damaged.share(job.device)
            too_many = run.damaged.too_many(recipe.data.max_damaged, len(job.images))
            position.is_finished = enough or step == stage.last_step
            ends = stop or position.is_finished or too_many is not None
            if ends or step % recipe.checkpoint.every == 0:
                stage.save(is_last=ends)
            if too_many:
                raise AgreedError(f"{too_many}; checkpoint saved at step {step}")
            if stop and not stage.is_over:
                raise PreemptedError(
                    f"stopped by a signal; checkpoint saved at step {step}",
                    remedy=Remedy("continue", argument("resume", True)),
                )
            if enough:
                unimproved = "step %d: %s has not improved for %d evaluations (eval.patience)"
                log.info(unimproved, step, KNN_MEAN, recipe.eval.patience)
                break


def _metrics(stage: Stage) -> MetricsLog:
    run, recipe, step = stage.run, stage.job.recipe, stage.position.step
    trackers = open_trackers(recipe.trackers, run.folder, recipe.shared(recipe.model_dump(mode="json")), step)
    return MetricsLog(run.folder, step, stage.last_step, run.console, trackers)


def _record(stage: Stage, metrics: MetricsLog | None, values: dict[str, float]) -> None:
    if metrics:
        metrics.write(stage.position.step, values)
        stage.run.saver.note(values)


def _evaluate(stage: Stage, metrics: MetricsLog | None, callback: Callback) -> None:
    """Calls back with the student as it is now, in the first process; the others wait."""
    student = stage.deployed()
    with stage.run.agreement.waiting():
        if stage.run.is_main:
            scores = callback(student, stage.position.step)
            stage.patience.see(scores)
            _record(stage, metrics, scores)
    stage.job.distiller.train()


@contextmanager
def _abandoned(stage: Stage) -> Iterator[None]:
    """Saves a checkpoint if a step cannot get its images: on a signal, a dead or hanging worker, or a failing source.

    With several processes none of them can save, because the others wait for the gradients of this step.
    """
    run, job = stage.run, stage.job
    is_alone = run.accelerator.num_processes == 1
    # Once the last micro-batch has come the step is finished, so only earlier ones can leave changes to undo.
    changed = Changed(job) if is_alone and job.recipe.train.micro_batches > 1 else None
    try:
        yield
    except (PreemptedError, StoppedError, InputError) as error:
        reason = "stopped by a signal" if isinstance(error, PreemptedError) else error.text
        remedy = Remedy("continue", argument("resume", True))
        if not is_alone:
            raise StoppedError(reason, remedy=remedy._replace(action="continue from the newest checkpoint")) from error
        if changed:
            changed.undo()
        step = stage.position.step
        if checkpoint.newest_step(run.folder) != step:
            stage.save(is_last=True)
        raise error.reworded(f"{reason}; checkpoint saved at step {step}", remedy) from error


def _final_student(stage: Stage) -> Encoder:
    """The student to export: as trained or, in the first process, interpolated between start and end."""
    run, student = stage.run, stage.deployed()
    if stage.job.recipe.train.interpolate is None:
        return student
    with (
        run.console.status("interpolation") as status,
        run.at_once("after the training, before train.interpolate had ended"),
        run.agreement.waiting(),
    ):
        if run.is_main:
            student = interpolate(
                stage.job, student, stage.start.weights, run.folder, stage.position.step,
                tell=run.announce, report=status.update,
            )  # fmt: skip
    return student
