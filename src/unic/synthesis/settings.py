"""How synthesised images are made: their number, their size, and what the optimisation of their pixels takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unic.arguments import argument
from unic.errors import InputError


@dataclass(frozen=True)
class Settings:
    """Defaults are for a CPU: every image of a pool is changed 15 times. The paper has the same pools and subsets, and
    draws one every 10 of 4,000 steps, so that an image is changed 640 times, at a rate of 0.1.

    Attributes:
        images: their number.
        size: side in pixels.
        start: path of the images that the optimisation starts from, of which the first `images` are taken.
        pool: images that are kept apart from one another; one pool is made at a time.
        subset: images of a pool that one step compares and changes.
        redraw: steps with one subset.
        steps: of a whole pool; a smaller last one gets fewer, so that each image is changed as often.
        lr: Adam's rate on pixels in [0, 1]. With few steps 0.05 makes noise of flat colours.
        variation: weight of the total variation; with 0.1 it is too weak against that noise, from 4 on edges soften.
        seed: of all draws.

    Raises:
        InputError: a number out of its range, or a last pool of one image.
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
                f"{argument('images', self.images)}: the last pool of {self.pool} would have one image, which has no "
                f"other to be told from; use {self.images - 1} or {self.images + 1}"
            )

    @property
    def num_pools(self) -> int:
        return -(-self.images // self.pool)

    def images_of(self, pool: int) -> range:
        """Numbers of the images of a pool."""
        return range(pool * self.pool, min((pool + 1) * self.pool, self.images))

    def steps_of(self, pool: int) -> int:
        """Steps that a pool takes."""
        return -(-self.steps * len(self.images_of(pool)) // self.pool)
