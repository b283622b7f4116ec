"""What a recipe asks for that hardly anybody means: few steps, projectors that dwarf the student, huge checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from unic.projectors import choose_blocks
from unic.projectors._widths import TIMES_STUDENT, suited_width
from unic.quantities import gigabytes
from unic.recipe.schema import Recipe
from unic.training.job import Job
from unic.training.start import is_kept

FEWEST_STEPS = 300  # fewer hardly move a student, as the rate still warms up in the first epoch
_TIMES_STUDENT = 10  # parameters of the projectors from which they are warned of
_LARGE = 1e9  # bytes of all checkpoints together, and
_TIMES_EXPORT = 50  # so many times the weights that are exported: both are exceeded where a warning is due
_BYTES_SAVED = 12  # of a trained float32 parameter: itself and two moments of Adam


def advice(job: Job, before: Sequence[Recipe] = ()) -> Iterator[tuple[str, str]]:
    """Section of the recipe and one line for each such thing, with the value that would suit.

    Args:
        job: of a run, or of one of its stages.
        before: the stages before it. One that follows a trained student may be short.
    """
    if all(stage.student.frozen for stage in before):
        yield from _steps(job)
    yield from _projectors(job)
    yield from _checkpoints(job)
    if job.anchor and job.student.from_scratch:
        yield "data.train", "the student starts from random weights, so anchor holds it near noise; leave it out"


def checkpoint_bytes(job: Job) -> tuple[int, int]:
    """Of one checkpoint, and of all that lie on the disk at a time: those that are kept, and one that is written."""
    one = _BYTES_SAVED * sum(parameter.numel() for parameter in job.distiller.parameters())
    one += 4 * job.student.num_parameters() * is_kept(job.recipe)
    setting = job.recipe.checkpoint
    return one, one * (setting.keep + (setting.best is not None) + 1)


def _steps(job: Job) -> Iterator[tuple[str, str]]:
    if job.total_steps >= FEWEST_STEPS or job.recipe.student.frozen:
        return
    train = job.recipe.train
    more = f"train.steps={FEWEST_STEPS}" if train.steps else f"train.epochs={_epochs(job)}"
    yield "train", f"{job.total_steps} steps hardly train a student; {more} makes a first one"


def _epochs(job: Job) -> int:
    return math.ceil(FEWEST_STEPS / job.steps_per_epoch)


def _projectors(job: Job) -> Iterator[tuple[str, str]]:
    student = job.student.num_parameters()
    times = sum(parameter.numel() for parameter in job.distiller.projectors.parameters()) / student
    if times <= _TIMES_STUDENT:
        return
    said = f"the projectors have {times:.0f} times the student's parameters"
    options = job.recipe.projector.options
    if job.recipe.projector.type != "ladder":
        yield "projector", said
        return
    blocks = choose_blocks(options.get("blocks", "all"), len(job.student.block_dims))
    has_patches = job.recipe.teachers.cache is None or job.recipe.teachers.cache.tokens != "cls"
    dims = [(teacher.embed_dim, has_patches * teacher.patch_dim) for teacher in job.encoders.values()]
    width = suited_width([job.student.block_dims[block] for block in blocks], dims, job.student.embed_dim, student)
    remedy = f"projector.hidden_dim={width} projector.last_hidden_dim={4 * width}"
    yield "projector", f"{said}; with {remedy} they have at most {TIMES_STUDENT} times as many"


def _checkpoints(job: Job) -> Iterator[tuple[str, str]]:
    one, together = checkpoint_bytes(job)
    if together < _LARGE or together < _TIMES_EXPORT * 4 * job.student.num_parameters():
        return
    keep = job.recipe.checkpoint.keep
    less = f", checkpoint.keep=1 takes {gigabytes(together - (keep - 1) * one)}" if keep > 1 else ""
    yield "checkpoint", f"checkpoints take {gigabytes(together)}{less}; smaller projectors make all of them smaller"
