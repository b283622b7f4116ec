"""A run in one of its stages: a job together with its folder and what changes while it trains."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor

from unic.config import Recipe
from unic.data.loader import Batch
from unic.distill import engine, recorded, run_folder
from unic.distill.ema import Ema
from unic.distill.guard import Guard
from unic.distill.job import Job
from unic.distill.patience import Patience
from unic.distill.recorded import Models
from unic.distill.saver import Saver
from unic.distill.watch import Agreement
from unic.encoders import Encoder


@dataclass
class Run:
    """What one stage works on.

    Attributes:
        recipe: the whole recipe, with all stages; `job.recipe` is this stage's.
        stage: number of the stage, from 0.
        first, first_epoch: steps and epochs (begun ones count) of the stages before this one.
        step: the newest finished step, counted through all stages.
        damaged: images that could not be read, of all processes once they have been shared.
        is_finished: the stage has ended, at its last step or by `eval.patience`.
        models: see `unic.distill.recorded`; given that of the checkpoint or of the stage before.
        start: the weights that the student started from, where something needs them (`unic.distill.start`).
        news: of a run that was resumed, lines about where it goes on and about files that lie elsewhere by now.
    """

    job: Job
    folder: Path
    accelerator: Accelerator
    agreement: Agreement
    recipe: Recipe
    stage: int = 0
    first: int = 0
    first_epoch: int = 0
    step: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    is_finished: bool = False
    models: Models = field(default_factory=lambda: recorded.NONE)
    start: dict[str, Tensor] = field(default_factory=dict)
    news: list[str] = field(default_factory=list)
    ema: Ema | None = None
    guard: Guard = field(init=False)
    saver: Saver = field(init=False)
    patience: Patience = field(init=False)
    identity: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.guard = Guard(self.job.recipe.train)
        self.patience = Patience(self.job.recipe.eval.patience)
        self.models = recorded.record(self.job, self.models)
        self.identity = run_folder.identity(self.job, self.recipe)  # before anything is cut into shards
        if self.job.recipe.train.ema is not None:
            self.ema = Ema(self.job.distiller, self.job.recipe.train.ema)
        self._shared = len(self.damaged)
        needs_copy = self.ema is not None or self.is_sharded
        self._deployed = copy.deepcopy(self.job.student) if needs_copy else None

    @property
    def is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    @property
    def is_sharded(self) -> bool:
        return self.job.recipe.train.engine == "fsdp" and self.accelerator.num_processes > 1

    @property
    def is_last_stage(self) -> bool:
        return self.stage + 1 >= len(self.recipe.stages)

    @property
    def last(self) -> int:
        """The step with which this stage ends."""
        return self.first + self.job.total_steps

    def weights(self, *, keep: bool = True) -> dict[str, Tensor]:
        """What is evaluated and exported, whole: the average if there is one. Every process must ask."""
        return engine.whole(self.ema.tensors if self.ema else self.job.distiller.state_dict(), keep=keep)

    def deployed(self) -> Encoder:
        """The student as it would be exported now, for evaluation. Every process must ask."""
        if self._deployed is None:
            return self.job.student.eval()
        weights = self.weights()
        prefix = "student."
        self._deployed.load_state_dict(
            {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
        )
        return self._deployed.eval()

    def note_damaged(self, batch: Batch) -> None:
        self.damaged.update({name: reason for _, name, reason in batch.damaged})

    @property
    def has_news(self) -> bool:
        """Whether this process has found damaged images that the others do not know of."""
        return len(self.damaged) > self._shared

    def share_damaged(self) -> None:
        """Joins the lists of all processes; every process must ask."""
        if self.accelerator.num_processes > 1:
            for text in _gather(json.dumps(self.damaged), self.job.device):
                self.damaged.update(json.loads(text))
            self.damaged = dict(sorted(self.damaged.items()))
        self._shared = len(self.damaged)

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


def _gather(text: str, device: torch.device) -> list[str]:
    """A text of every process, as bytes: torch's own gathering of objects would pickle them."""
    data = torch.tensor(list(text.encode()), dtype=torch.uint8, device=device)
    world = dist.get_world_size()
    lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(world)]
    dist.all_gather(lengths, torch.tensor([len(data)], device=device))
    longest = max(int(length) for length in lengths)
    padded = torch.zeros(longest, dtype=torch.uint8, device=device)
    padded[: len(data)] = data
    texts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(texts, padded)
    return [bytes(part[: int(n)].tolist()).decode() for part, n in zip(texts, lengths, strict=True)]
