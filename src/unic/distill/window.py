"""What one optimiser step adds up over its micro-batches and ranks: numerator, denominator and the sums of the log."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import Tensor

from unic.distill.anchor import Held
from unic.distill.job import Forward, Job


def undo(job: Job) -> Callable[[], None]:
    """Called before a step; what it returns takes back what the step's first micro-batches have changed.

    That is the statistics of batch norms and the generator that dropout draws from; all else changes with the last one.
    """
    if job.recipe.train.micro_batches == 1 or job.world_size > 1:
        return lambda: None
    kept = [(buffer, buffer.clone()) for buffer in job.distiller.buffers()]
    state = torch.get_rng_state()

    def put_back() -> None:
        for buffer, before in kept:
            buffer.copy_(before)
        torch.set_rng_state(state)

    return put_back


class Window:
    """What one optimiser step adds up over its micro-batches and ranks; stays on the device until a log step."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._sums: Tensor | None = None

    def add(self, forward: Forward, numerator: Tensor, denominator: Tensor) -> None:
        count = forward.losses.shape[1]
        columns = [
            forward.losses.detach().sum(1), forward.weights.sum(1),
            forward.cosines[:, 0] * count, forward.cosines[:, 1] * count,
        ]  # fmt: skip
        flat = torch.cat(
            [
                torch.stack([numerator.detach(), denominator, torch.full_like(denominator, count)]),
                torch.stack(_sum_and_count(forward.held, denominator)),
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
        numerator, denominator, count, drift, held, *rest = self._sums.tolist()
        columns = [rest[i : i + len(teachers)] for i in range(0, len(rest), len(teachers))]
        values = {"loss": numerator / denominator}
        if held:
            values["drift"] = drift / held
        for name, loss, kept, cls, patch in zip(teachers, *columns, strict=True):
            values |= {
                f"loss/{name}": loss / count,
                f"cos/{name}/cls": cls / count,
                f"kept/{name}": kept / count,
            }
            if not math.isnan(patch):  # no patches were asked for
                values[f"cos/{name}/patch"] = patch / count
        return values


def _sum_and_count(held: Held | None, like: Tensor) -> list[Tensor]:
    if held is None:
        return [torch.zeros_like(like), torch.zeros_like(like)]
    return [held.distances.sum(), torch.full_like(like, len(held.distances))]
