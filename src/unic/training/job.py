"""What one stage of a run works with: images, teachers, student, projectors, statistics, weighting, optimiser."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from unic.data.augment import Augmentation
from unic.data.batch import Batch
from unic.data.image_list import ImageList
from unic.data.loader import training_batches
from unic.data.mix import Mix
from unic.encoders import Encoder
from unic.losses import matched_by
from unic.recipe.schema import Recipe
from unic.recipe.teachers import Matched
from unic.runs.state import DISTILLER, LOSSES, STANDARDIZER, WEIGHTING, Stateful
from unic.standardizers import Standardizer
from unic.tokens import Grid
from unic.training.anchor import Anchor
from unic.training.cache_plan import cache_bytes
from unic.training.distiller import Distiller
from unic.training.loss_states import LossStates
from unic.training.resolutions import Resolutions
from unic.training.teachers import LiveTeachers
from unic.weightings import Weighting


@dataclass
class Job:
    """Everything that a stage trains with, but for the run folder.

    Attributes:
        encoders: the teachers, by name.
        grids: their own patch grids.
        grid: the student's patch grid while it trains.
        own_grid: the student's patch grid at its own size.
        owners: which teachers own the images of each source; None: all own all.
        world_size: number of processes that share each batch.
    """

    recipe: Recipe
    device: torch.device
    images: ImageList
    augmentation: Augmentation
    encoders: dict[str, Encoder]
    grids: dict[str, Grid]
    grid: Grid
    own_grid: Grid
    distiller: Distiller
    standardizer: Standardizer
    weighting: Weighting
    loss_states: LossStates
    optimizer: torch.optim.AdamW
    steps_per_epoch: int
    total_steps: int
    resolutions: Resolutions
    owners: Bool[Tensor, "t s"] | None = None
    anchor: Anchor | None = None
    world_size: int = 1

    @property
    def student(self) -> Encoder:
        return self.distiller.student

    @property
    def warmup_steps(self) -> int:
        """At most half of the run, so that a run cut short by `train.steps` still anneals."""
        wanted = round(self.recipe.train.warmup_epochs * self.steps_per_epoch)
        return min(wanted, self.total_steps // 2)

    @property
    def images_at_a_time(self) -> int:
        """Most images of a micro-batch in one process."""
        return math.ceil(self.recipe.train.batch_size / (self.recipe.train.micro_batches * self.world_size))

    @property
    def peak_lr(self) -> float:
        """Highest learning rate; the recipe's rate is per 256 images."""
        return self.recipe.train.lr * self.recipe.train.batch_size / 256

    def learned(self) -> dict[str, Stateful]:
        """The parts that change while the stage trains, by their names in a checkpoint."""
        return {
            DISTILLER: self.distiller,
            STANDARDIZER: self.standardizer,
            WEIGHTING: self.weighting,
            LOSSES: self.loss_states,
        }

    def matched(self, teacher: str) -> Matched:
        """The tokens of a teacher that its losses compare."""
        return matched_by(self.distiller.losses[teacher])

    def live_teachers(self, *, compile: bool = False) -> LiveTeachers:
        return LiveTeachers(
            self.encoders, self.grid, self.resolutions, setting=self.recipe.teachers, plain=self._plain_views,
            compile=compile,
        )  # fmt: skip

    def first_batch(self, num_images: int, size: int | None = None) -> Batch:
        """The first images of the run, to try something on; `size`: side of the views, default `data.size`."""
        data = self.recipe.data
        batches = training_batches(
            self.images, size=size or data.size, augment=data.augment, seed=self.recipe.seed, batch_size=num_images,
            first_step=1, num_steps=1, mix=Mix.of(data.mix),
        )  # fmt: skip
        return next(batches)

    def views(self, batch: Batch) -> Float[Tensor, "b 3 h w"]:
        """The images of a batch on the device, augmented, in [0, 1]."""
        crops = batch.images.to(self.device, non_blocking=True)
        return self.augmentation(crops, self.recipe.seed, batch.view, batch.index)

    def _plain_views(
        self, crops: UInt8[Tensor, "b 3 h w"], view: Int[Tensor, "b"], index: Int[Tensor, "b"]
    ) -> Float[Tensor, "b 3 h w"]:
        """The same as `views` without changes of colour."""
        return self.augmentation.plain()(crops.to(self.device, non_blocking=True), self.recipe.seed, view, index)

    def owned(self, index: Int[Tensor, "b"]) -> Bool[Tensor, "t b"] | None:
        """Whether each teacher owns each image of a batch, by the image's source; None: all own all.

        Args:
            index: index of the images, on the CPU.
        """
        if self.owners is None:
            return None
        return self.owners[:, self.images.source_of(index)].to(self.device, non_blocking=True)

    def cache_bytes(self) -> int:
        """Size of the teacher cache; 0 without one."""
        return cache_bytes(self.recipe.teachers, self.encoders, self.grids, len(self.images))
