"""Forward and backward passes that leave no trace in a job: its trial before the run, the diagnosis of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from unic.training.job import Job


class Changed:
    """What forward passes in training mode change beside gradients: buffers such as the statistics of batch norms, and
    the generator that dropout draws from. Kept as it is now.
    """

    def __init__(self, job: Job) -> None:
        self._buffers = [(buffer, buffer.clone()) for buffer in job.distiller.buffers()]
        self._rng = torch.get_rng_state()

    def undo(self) -> None:
        for buffer, before in self._buffers:
            buffer.copy_(before)
        torch.set_rng_state(self._rng)


@contextmanager
def untraced(job: Job) -> Iterator[None]:
    """A block in which the student is in training mode and the statistics of the teachers learn nothing. Gradients
    begin at none and are gone after it.
    """
    changed = Changed(job)
    job.distiller.train()
    job.standardizer.eval()
    job.optimizer.zero_grad(set_to_none=True)
    try:
        yield
    finally:
        job.optimizer.zero_grad(set_to_none=True)
        job.standardizer.train()
        changed.undo()
