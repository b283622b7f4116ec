"""Settings of a synthesis: number and size of the images, and options of the optimisation of their pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unic.arguments import argument
from unic.errors import InputError


@dataclass(frozen=True)
class Settings:
    """Settings of a synthesis.

    The defaults are for a CPU: every image of a pool is changed 15 times. The paper has pools and subsets of the same
    size. It draws a subset every 10 of 4,000 steps, so that an image is changed 640 times, at a rate of 0.1.

    Attributes:
        images: number of images.
        size: side in pixels.
        start: path of the images that the optimisation starts from; the first `images` of them are used.
        pool: number of images that are optimised to differ from one another; one pool is made at a time.
        subset: number of images of a pool that one step compares and changes.
        redraw: steps with the same subset.
        steps: of a whole pool. A smaller last pool gets fewer steps, so that each image is changed as often.
        lr: Adam's learning rate on pixels in [0, 1]. With few steps 0.05 turns flat colours into noise.
        variation: weight of the total variation. 0.1 is too weak against such noise; from 4 on edges soften.
        seed: of all draws.

    Raises:
        InputError: a value out of its range, or a last pool of one image.
    """

    images: int = 1000
    size: int = 128
    start: str = "generated:dead_leaves"
    pool: int = 250
    subset: int = 40
    redraw: int = 5
    steps: int = 105
    lr: float = 0.02
    variation: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("images", 2), ("size", 8), ("pool", 2), ("subset", 2), ("redraw", 1), ("steps", 1)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"{argument(name, value)}: expected at least {least}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"{argument('lr', self.lr)}: expected a number above 0")
        if not (math.isfinite(self.variation) and self.variation >= 0):
            raise InputError(f"{argument('variation', self.variation)}: expected 0 or a number above it")
        if self.subset > self.pool:
            raise InputError(
                f"{argument('subset', self.subset)}: expected at most the {self.pool} images of {argument('pool')}"
            )
        if self.images % self.pool == 1:
            raise InputError(
                f"{argument('images', self.images)}: the last pool (of {self.pool}) would have a single image, with "
                f"none to compare it with; use {self.images - 1} or {self.images + 1}"
            )

    @property
    def num_pools(self) -> int:
        return -(-self.images // self.pool)

    def images_of(self, pool: int) -> range:
        """Indices of the images of a pool."""
        return range(pool * self.pool, min((pool + 1) * self.pool, self.images))

    def steps_of(self, pool: int) -> int:
        """Steps of a pool."""
        return -(-self.steps * len(self.images_of(pool)) // self.pool)
