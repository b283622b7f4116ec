"""Forward and backward passes that leave a job unchanged: for its trial before the run, and the diagnosis of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from unic.training.job import Job


class Changed:
    """A copy of what forward passes in training mode change besides gradients, to undo those changes.

    It holds buffers, such as the statistics of batch norms, and the generator that dropout draws from.
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
    """A block with the student in training mode that leaves statistics and buffers unchanged, and no gradients."""
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
