"""A run: a job together with its folder and what changes while it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import Accelerator

from unic.data.loader import Batch
from unic.distill.build import Job
from unic.distill.guard import Guard
from unic.distill.saver import Saver


@dataclass
class Run:
    """A job together with its folder and what changes while it trains."""

    job: Job
    folder: Path
    accelerator: Accelerator
    step: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    guard: Guard = field(init=False)
    saver: Saver = field(init=False)

    @property
    def is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def note_damaged(self, batch: Batch) -> None:
        self.damaged.update({name: reason for _, name, reason in batch.damaged})

    def too_many_damaged(self) -> str | None:
        """A line if more images than `data.max_damaged` of the whole set have turned out damaged, else None."""
        limit, total = self.job.recipe.data.max_damaged, len(self.job.images)
        if len(self.damaged) <= math.ceil(limit * total):
            return None
        name, reason = next(iter(self.damaged.items()))
        return (
            f"{len(self.damaged)} of {total} images are damaged, more than data.max_damaged = {limit:.2%} "
            f"(the first: {name}: {reason})"
        )
