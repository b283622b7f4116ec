"""Moves the student's view against the teachers' by whole patches (`shift` of a loss), and finds the patches of both.

With p the pixels of a patch, the moved view shows at (y, x) what the view shows at (y + dy·p, x + dx·p). What lies
beyond the view is mirrored at its border. dy and dx are drawn from −s … s for each image and step. Of h × w patches
(h − s) × (w − s) are compared, so that all images keep equally many: a window in the middle of what both see.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unic import rng
from unic.encoders.base import Size, resize
from unic.errors import InputError
from unic.tokens import Grid

_ROWS, _COLUMNS = rng.stream("rows of a moved view"), rng.stream("columns of a moved view")


class Shift:
    """How far views are moved.

    Args:
        most: s, in patches.
        patch: height and width of a patch, in pixels of the student's input.
        seed: seed of the run.
    """

    def __init__(self, most: int, patch: Size, seed: int) -> None:
        self.most, self.patch, self.seed = most, patch, seed

    @staticmethod
    def of(most: int, sizes: Mapping[Size, Grid], seed: int) -> Shift | None:
        """The shift of a run; None if nothing is moved.

        Args:
            most: the largest shift that a loss asks for.
            sizes: all sizes at which the student sees images while it trains, with its grids there.
            seed: seed of the run.

        Raises:
            InputError: too few patches, or patches that are not a whole number of pixels.
        """
        if not most:
            return None
        patches = {(height // grid[0], width // grid[1]) for (height, width), grid in sizes.items()}
        patch = next(iter(patches))
        for (height, width), grid in sizes.items():
            if min(grid) <= most:
                raise InputError(f"recipe: a loss moves views by {most} patches, and the student's grid is {_by(grid)}")
            if (grid[0] * patch[0], grid[1] * patch[1]) != (height, width):
                raise InputError(
                    f"recipe: a loss moves views by whole patches, and the student's {_by(grid)} patches do not divide "
                    f"{_by((height, width))} px"
                )
        return Shift(most, patch, seed)

    def offsets(self, step: int | Int[Tensor, ""], index: Int[Tensor, "b"]) -> Int[Tensor, "b 2"]:
        """(dy, dx) of each image, in patches."""
        draws = torch.stack([rng.uniform(index, stream, self.seed, step) for stream in (_ROWS, _COLUMNS)], dim=1)
        return (draws * (2 * self.most + 1)).long() - self.most

    def moved(
        self, images: Float[Tensor, "b 3 h w"], offsets: Int[Tensor, "b 2"], size: Size
    ) -> Float[Tensor, "b 3 h2 w2"]:
        """The moved views, resized to `size` before."""
        x = resize(images, size)
        rows, columns = (
            _mirrored(torch.arange(side, device=x.device) + offsets[:, axis, None] * self.patch[axis], side)
            for axis, side in enumerate(size)
        )
        return x.take_along_dim(rows[:, None, :, None], dim=2).take_along_dim(columns[:, None, None, :], dim=3)

    def common(self, grid: Grid, offsets: Int[Tensor, "b 2"]) -> tuple[Int[Tensor, "b k"], Int[Tensor, "b k"], Grid]:
        """Patches of the moved view, the patches of the view that show the same, and their grid."""
        kept = (grid[0] - self.most, grid[1] - self.most)
        slack = (self.most - offsets.abs()) // 2
        moved, view = (_window((sign * offsets).clamp(min=0) + slack, kept, grid[1]) for sign in (-1, 1))
        return moved, view, kept


def _mirrored(place: Int[Tensor, "b n"], side: int) -> Int[Tensor, "b n"]:
    return side - 1 - (side - 1 - place.abs()).abs()


def _window(start: Int[Tensor, "b 2"], kept: Grid, columns: int) -> Int[Tensor, "b k"]:
    rows, places = (start[:, axis, None] + torch.arange(kept[axis], device=start.device) for axis in (0, 1))
    return (rows[:, :, None] * columns + places[:, None, :]).flatten(1)


def _by(sides: tuple[int, int]) -> str:
    return f"{sides[0]} x {sides[1]}"
