"""Guard against steps that are not finite: lowers the learning rate after some, ends the run after many in a row.

They are counted on the device: streak ← (streak + skipped) · skipped. The counts are equal on every rank, and are read
at log steps only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from unic.data.batch import Batch
from unic.errors import NotFiniteError
from unic.recipe.sections import TrainSection
from unic.runs.metric_names import SKIPPED

log = logging.getLogger("unic")

_LOWERED = 0.5  # factor on the learning rate, each time it is lowered

Diagnose = Callable[[int, list[Batch]], str]
"""From a step and its batches to the cause, as one line."""


class Guard:
    """Watches the steps of a run.

    Args:
        setting: `train` of the recipe: `max_skipped`, `lower_after`.
        device: device of the losses.

    Attributes:
        lr_scale: factor on the scheduled learning rate.
    """

    def __init__(self, setting: TrainSection, device: torch.device) -> None:
        self._setting = setting
        self.lr_scale = 1.0
        self._counts = torch.zeros(2, device=device)  # (skipped in all, skipped in a row)
        self._batches: list[Batch] = []
        self._step = 0

    def see(self, step: int, batch: Batch) -> None:
        """Remembers the micro-batches of the newest step, which are on the CPU, for the diagnosis."""
        if step != self._step:
            self._step, self._batches = step, []
        self._batches.append(batch)

    def count(self, skipped: Tensor) -> None:
        """Counts a step. `skipped`: 1 if it was not finite, else 0; on the device, where the counts stay."""
        total, streak = self._counts.unbind()
        self._counts = torch.stack([total + skipped, (streak + skipped) * skipped])

    def check(self, diagnose: Diagnose) -> None:
        """At log steps: reads the counts from the device and acts on them.

        Args:
            diagnose: says why the newest step was not finite, before the run ends.

        Raises:
            NotFiniteError: `max_skipped` steps in a row were not finite.
        """
        total, streak = self._read()
        if streak >= self._setting.max_skipped:
            cause = diagnose(self._step, self._batches)
            raise NotFiniteError(
                f"step {self._step}: {streak} steps in a row were not finite (train.max_skipped); {cause}"
            )
        if self._setting.lower_after:
            scale = _LOWERED ** (total // self._setting.lower_after)
            if scale != self.lr_scale:
                self.lr_scale = scale
                log.warning(
                    "step %d: %d steps were not finite; learning rate × %g from here on", self._step, total, scale
                )

    def values(self) -> dict[str, float]:
        """`{"skipped": n}` if any step was skipped."""
        total, _ = self._read()
        return {SKIPPED: float(total)} if total else {}

    def state_dict(self) -> dict[str, Any]:
        total, streak = self._read()
        return {"skipped": total, "streak": streak, "lr_scale": self.lr_scale}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:  # early versions saved none
            self._counts = self._counts.new_tensor([state["skipped"], state["streak"]])
            self.lr_scale = state["lr_scale"]

    def _read(self) -> tuple[int, int]:
        total, streak = self._counts.tolist()
        return int(total), int(streak)
