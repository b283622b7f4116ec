"""Warnings about a recipe that is valid but probably a mistake: few steps, huge projectors, huge checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from unic.projectors import choose_blocks
from unic.projectors._widths import TIMES_STUDENT, suited_width
from unic.quantities import gigabytes
from unic.recipe.schema import Recipe
from unic.training.job import Job
from unic.training.start import is_kept

FEWEST_STEPS = 300  # fewer hardly change a student, because the learning rate still warms up in the first epoch
_LEAST_LEARNING = 10  # warn if more than the tenth part of the steps only sets the standardiser's statistics
_TIMES_STUDENT = 10  # warn if the projectors have more than so many times the student's parameters
_LARGE = 1e9  # warn if all checkpoints together take more bytes than this,
_TIMES_EXPORT = 50  # and more than so many times the bytes of the exported weights
_BYTES_SAVED = 12  # of a trained float32 parameter: its value and two moments of Adam


def advice(job: Job, before: Sequence[Recipe] = ()) -> Iterator[tuple[str, str]]:
    """Yields a section of the recipe and one line about it, which names a value that would suit.

    Args:
        job: job of a run or of one of its stages.
        before: the stages before it. A stage that continues a trained student may be short.
    """
    if all(stage.student.frozen for stage in before):
        yield from _steps(job)
    if not before:
        yield from _first_steps(job)
    yield from _untrained(job)
    yield from _squares(job)
    yield from _projectors(job)
    yield from _checkpoints(job)
    if job.anchor and job.student.from_scratch:
        yield "data.train", "the student starts from random weights, and anchor holds it near them; leave out anchor"


def checkpoint_bytes(job: Job) -> tuple[int, int]:
    """Bytes of one checkpoint, and of all that are on the disk at a time: the kept ones and the one being written."""
    one = _BYTES_SAVED * sum(parameter.numel() for parameter in job.distiller.parameters())
    one += 4 * job.student.num_parameters() * is_kept(job.recipe)
    setting = job.recipe.checkpoint
    return one, one * (setting.keep + (setting.best is not None) + 1)


def _steps(job: Job) -> Iterator[tuple[str, str]]:
    if job.total_steps >= FEWEST_STEPS or job.recipe.student.frozen:
        return
    train = job.recipe.train
    more = f"train.steps={FEWEST_STEPS}" if train.steps else f"train.epochs={_epochs(job)}"
    yield "train", f"{job.total_steps} steps hardly train a student; set {more} or more"


def _squares(job: Job) -> Iterator[tuple[str, str]]:
    """Squares of targets that a small σ has made huge: some teachers have channels that hardly vary."""
    recipe = job.recipe
    losses = [recipe.loss, *(teacher.loss for teacher in recipe.teachers.models.values() if teacher.loss is not None)]
    standardize = recipe.standardize
    if standardize.type == "ema" and not standardize.options.get("floor") and any("mse" in each for each in losses):
        yield (
            "standardize",
            "mse squares targets, and those of channels that hardly vary are huge; set standardize.floor=0.1",
        )


def _untrained(job: Job) -> Iterator[tuple[str, str]]:
    """Tokens that no loss compares: of the student, because of teachers' options and losses; or of some teachers."""
    matched = {name: job.matched(name) for name in job.encoders}
    if set(matched.values()) == {"patches"}:
        yield (
            "loss",
            "no loss compares CLS with any teacher's, so the student's CLS is not trained; measure the mean of its "
            "patches, as with eval.suite.tasks={knn: {tokens: patch_mean}}",
        )
    if set(matched.values()) == {"cls"}:
        yield "loss", "no loss compares patches with any teacher's, so the student's patches are not trained"
    unused = {name: tokens for name, tokens in matched.items() if tokens != job.recipe.teachers.matched(name)}
    for tokens, other in (("cls", "patches"), ("patches", "CLS")):
        names = [name for name in unused if unused[name] == tokens]
        if names:
            yield (
                "teachers.models",
                f"no loss compares {other} with those of {', '.join(names)}, so they are projected in vain; set "
                f"teachers.models.{names[0]}.tokens={tokens}{' and so on' if names[1:] else ''}",
            )


def _first_steps(job: Job) -> Iterator[tuple[str, str]]:
    first = job.standardizer.first_steps
    if first * _LEAST_LEARNING > job.total_steps and first > 1:
        yield (
            "standardize",
            f"nothing learns in the first {first} of {job.total_steps} steps; set standardize.steps lower",
        )


def _epochs(job: Job) -> int:
    return math.ceil(FEWEST_STEPS / job.steps_per_epoch)


def _projectors(job: Job) -> Iterator[tuple[str, str]]:
    student = job.student.num_parameters()
    times = sum(parameter.numel() for parameter in job.distiller.projectors.parameters()) / student
    if times <= _TIMES_STUDENT:
        return
    text = f"the projectors have {times:.0f} times the student's parameters"
    options = job.recipe.projector.options
    if job.recipe.projector.type != "ladder":
        yield "projector", text
        return
    blocks = choose_blocks(options.get("blocks", "all"), len(job.student.block_dims))
    dims = [job.recipe.teachers.widths(name, each.embed_dim, each.patch_dim) for name, each in job.encoders.items()]
    width = suited_width([job.student.block_dims[block] for block in blocks], dims, job.student.embed_dim, student)
    remedy = f"projector.hidden_dim={width} projector.last_hidden_dim={4 * width}"
    yield "projector", f"{text}; with {remedy} they have at most {TIMES_STUDENT} times as many"


def _checkpoints(job: Job) -> Iterator[tuple[str, str]]:
    one, together = checkpoint_bytes(job)
    if together < _LARGE or together < _TIMES_EXPORT * 4 * job.student.num_parameters():
        return
    keep = job.recipe.checkpoint.keep
    less = f" ({gigabytes(together - (keep - 1) * one)} with checkpoint.keep=1)" if keep > 1 else ""
    yield "checkpoint", f"checkpoints take {gigabytes(together)}{less}; smaller projectors make each of them smaller"
