"""A trial of a few steps of a run: the time of each, and the memory that an image needs.

Some costs of a step do not depend on its images: gradients of large projectors, the update. So the trial takes as many
images at a time as the run, where memory and patience allow.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from unic.cores import beside
from unic.data.batch import Batch
from unic.tokens import Tokens
from unic.training.job import Job
from unic.training.memory import SavedBytes, largest_batch, room
from unic.training.optimizer import optimizer_step
from unic.training.step import batch_loss
from unic.training.teachers import TokenSource

PATIENCE = 20.0  # seconds for the timed steps, over all sizes of views
_MOST, _LEAST = 10, 2  # number of timed steps, at most and at least
_SCHEDULER = Path("/proc/thread-self/schedstat")
_FEW = {"cpu": 16, "cuda": 64}  # images of the first steps


@dataclass(frozen=True)
class Trial:
    """Timed steps on views of one size. The lists have an entry for each step.

    Attributes:
        images: number of images of a step.
        saved_bytes: bytes that a forward pass keeps for one image.
        decoding: seconds in which one process decodes an image.
        teachers: seconds of the teachers' forward passes.
        student: seconds of all other forward and backward passes.
        update: seconds of the optimiser's update, which do not depend on the number of images.
        waited: seconds of the step in which this thread waited for a core; 0 where the system does not tell.
    """

    images: int
    saved_bytes: float
    decoding: float
    teachers: list[float] = field(default_factory=list)
    student: list[float] = field(default_factory=list)
    update: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    def alone(self) -> Trial:
        """The same steps as on an idle machine: their parts are shortened by the share in which they waited."""
        whole = [sum(parts) for parts in zip(self.teachers, self.student, self.update, strict=True)]
        shares = [1 - min(waited / seconds, 1) for waited, seconds in zip(self.waited, whole, strict=True)]

        def shorter(entries: list[float]) -> list[float]:
            return [entry * share for entry, share in zip(entries, shares, strict=True)]

        return replace(
            self, teachers=shorter(self.teachers), student=shorter(self.student), update=shorter(self.update),
            waited=[0.0] * len(shares),
        )  # fmt: skip


def few_images(device: torch.device) -> int:
    return _FEW.get(device.type, _FEW["cpu"])


def try_steps(job: Job, side: int, patience: float) -> Trial:
    """Times steps with the number of threads of the run. The weights do not change, but the job must not run later.

    Args:
        job: the run.
        side: side of the views in pixels.
        patience: seconds for the timed steps.
    """
    clock = _Clock(job)
    with beside(job.recipe.data.workers):
        batch, decoding = _decoded(job, min(few_images(job.device), job.images_at_a_time), side)
        saved = SavedBytes()
        with saved:
            clock.step(batch)
        each = sum(clock.step(batch)) / len(batch)  # without the costs that only the first step has
        largest = largest_batch(job, saved.total / len(batch), room(job))
        affordable = min(largest, int(patience / (_LEAST + 2) / each))
        count = min(job.images_at_a_time, max(len(batch), affordable))
        trial = Trial(count, saved.total / len(batch), decoding)
        if count > len(batch):
            batch, decoding = _decoded(job, count, side)
            trial = Trial(len(batch), trial.saved_bytes, decoding)
            clock.step(batch)
        started = time.perf_counter()
        while len(trial.update) < _LEAST or (len(trial.update) < _MOST and time.perf_counter() - started < patience):
            before = _waited()
            for seconds, entry in zip((trial.teachers, trial.student, trial.update), clock.step(batch), strict=True):
                seconds.append(entry)
            trial.waited.append(_waited() - before)
    return trial


def _decoded(job: Job, count: int, side: int) -> tuple[Batch, float]:
    """A batch of the first images, and the seconds to decode each of them."""
    started = time.perf_counter()
    batch = job.first_batch(count, side)
    return batch, (time.perf_counter() - started) / len(batch)


class _Clock:
    """Times steps of a job with live teachers."""

    def __init__(self, job: Job) -> None:
        self.job, self.teachers = job, _TimedTeachers(job.live_teachers(), job.device)
        job.distiller.train()
        job.standardizer.eval()

    def step(self, batch: Batch) -> tuple[float, float, float]:
        """Seconds of the teachers, of all other forward and backward passes, and of the update."""
        job = self.job
        self.teachers.seconds = 0.0
        started = _now(job.device)
        loss = batch_loss(job, self.teachers, batch, step=1)
        loss.numerator.backward()
        passed = _now(job.device)
        optimizer_step(job.optimizer, 0.0, loss.denominator, job.recipe.train.clip_grad)
        ended = _now(job.device)
        return self.teachers.seconds, passed - started - self.teachers.seconds, ended - passed


class _TimedTeachers:
    """Teachers whose seconds are added up."""

    def __init__(self, teachers: TokenSource, device: torch.device) -> None:
        self.teachers, self.device, self.seconds = teachers, device, 0.0

    def __call__(self, images: Tensor, index: Tensor, view: Tensor, crops: Tensor | None = None) -> dict[str, Tokens]:
        started = _now(self.device)
        outputs = self.teachers(images, index, view, crops)
        self.seconds += _now(self.device) - started
        return outputs


def _waited() -> float:
    """Seconds for which this thread was ready to run and had no core (Linux)."""
    try:
        return int(_SCHEDULER.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _now(device: torch.device) -> float:
    """The time in seconds, after all work given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
