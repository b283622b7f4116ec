"""A few steps of a run, tried as the run makes them: how long each takes, and what an image keeps of the memory.

A step has costs of its own beside those of its images: gradients of large projectors, the update. So it is tried with
as many images as the run has at a time where memory and patience allow.
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
from unic.training.teachers import Outputs

PATIENCE = 20.0  # seconds for the steps of all sizes of views together, once the first have shown what they cost
_MOST, _LEAST = 10, 2  # steps that are timed
_SCHEDULER = Path("/proc/thread-self/schedstat")
_FEW = {"cpu": 16, "cuda": 64}  # images of the first steps


@dataclass(frozen=True)
class Trial:
    """Steps on views of one size. Entries of the lists are those of one step after the other.

    Attributes:
        images: of a step.
        saved_bytes: that a forward pass keeps of one image.
        decoding: seconds that one process decodes an image.
        teachers: seconds of the teachers.
        student: seconds of everything else that a batch is sent through.
        update: seconds of the optimiser, whatever the number of images is.
        waited: of all these, seconds in which other processes had the cores; 0 where the system does not tell.
    """

    images: int
    saved_bytes: float
    decoding: float
    teachers: list[float] = field(default_factory=list)
    student: list[float] = field(default_factory=list)
    update: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    def alone(self) -> Trial:
        """The same as if nothing else had run: all parts of a step shorter by the share of it that was waited."""
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
    """Tries steps with the threads that the run has. The weights stay as they are; a job that is tried is not run.

    Args:
        side: of the views.
        patience: seconds for the steps that are timed.
    """
    clock = _Clock(job)
    with beside(job.recipe.data.workers):
        batch, decoding = _decoded(job, min(few_images(job.device), job.images_at_a_time), side)
        saved = SavedBytes()
        with saved:
            clock.step(batch)
        each = sum(clock.step(batch)) / len(batch)  # what a first step costs once is over
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
    """So many of the first images, and the seconds that each of them took."""
    started = time.perf_counter()
    batch = job.first_batch(count, side)
    return batch, (time.perf_counter() - started) / len(batch)


class _Clock:
    """Steps of a job with live teachers, timed."""

    def __init__(self, job: Job) -> None:
        self.job, self.teachers = job, _Timed(job.live_teachers(), job.device)
        job.distiller.train()
        job.standardizer.eval()

    def step(self, batch: Batch) -> tuple[float, float, float]:
        """Seconds of the teachers, of the rest of forward and backward pass, and of the update."""
        job = self.job
        self.teachers.seconds = 0.0
        started = _now(job.device)
        loss = batch_loss(job, self.teachers, batch, step=1)
        loss.numerator.backward()
        passed = _now(job.device)
        optimizer_step(job.optimizer, 0.0, loss.denominator, job.recipe.train.clip_grad)
        ended = _now(job.device)
        return self.teachers.seconds, passed - started - self.teachers.seconds, ended - passed


class _Timed:
    """Teachers, and how long they took."""

    def __init__(self, teachers: Outputs, device: torch.device) -> None:
        self.teachers, self.device, self.seconds = teachers, device, 0.0

    def __call__(self, images: Tensor, index: Tensor, view: Tensor) -> dict[str, Tokens]:
        started = _now(self.device)
        outputs = self.teachers(images, index, view)
        self.seconds += _now(self.device) - started
        return outputs


def _waited() -> float:
    """Seconds that this thread has been ready to run and had no core (Linux)."""
    try:
        return int(_SCHEDULER.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _now(device: torch.device) -> float:
    """Seconds, when everything asked of the device so far is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
