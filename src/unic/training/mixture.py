"""Weights between start and end: (1 − α)·start + α·trained (WiSE-FT, Wortsman et al., CVPR 2022, arXiv 2109.01903).

Batch-norm statistics are mixed as well, or computed again on training images (`train.interpolate_norms`). Mixed ones
are not exactly those of the mixed network. But the mixture is meant for images unlike the training images, and with
statistics of training images alone it lost accuracy on photographs (docs/log.md).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from unic.data.batch import Batch
from unic.data.loader import training_batches
from unic.data.mix import Mix
from unic.encoders import Encoder
from unic.training.batch_norms import estimate_statistics, keeps_statistics
from unic.training.job import Job

_IMAGES = 2048  # that batch-norm statistics are computed on


def mixture(
    student: Encoder, start: Mapping[str, Tensor], alpha: float, views: Iterable[Tensor] | None = None
) -> Encoder:
    """A frozen copy of the student with (1 − α)·start + α·trained; integer tensors are as trained.

    Args:
        student: as trained.
        start: the weights that it started from, by the same names.
        alpha: from 0 to 1; 1: weights and statistics of the student.
        views: images to compute batch-norm statistics on; None: mix the statistics as well.
    """
    mixed = copy.deepcopy(student)
    mixed.load_state_dict(
        {
            name: torch.lerp(start[name].to(tensor), tensor, alpha) if tensor.is_floating_point() else tensor
            for name, tensor in student.state_dict().items()
        }
    )
    if alpha < 1 and views is not None:
        estimate_statistics(mixed, views)
    return mixed.freeze()


def first_views(job: Job) -> Iterable[Tensor] | None:
    """Views of a stage's first steps, for `mixture`; None if statistics are mixed or stay those of the start."""
    is_again = job.recipe.train.interpolate_norms == "again"
    return _Views(job) if is_again and not keeps_statistics(job.recipe, job.world_size) else None


class _Views:
    """Augmented views on the device, for any number of passes. Decoded images stay in memory, 8 bits a value."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._batches: list[Batch] = []

    def __iter__(self) -> Iterator[Tensor]:
        job, recipe = self._job, self._job.recipe
        if not self._batches:
            steps = min(job.steps_per_epoch, math.ceil(_IMAGES / recipe.train.batch_size))
            self._batches = list(
                training_batches(
                    job.images, size=recipe.data.size, augment=recipe.data.augment, seed=recipe.seed,
                    batch_size=recipe.train.batch_size, first_step=1, num_steps=steps, workers=recipe.data.workers,
                    timeout=recipe.data.timeout, mix=Mix.of(recipe.data.mix),
                )
            )  # fmt: skip
        return map(job.views, self._batches)
