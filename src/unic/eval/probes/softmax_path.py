"""Solutions of a softmax regression along C, from small to large, each started from the two solutions before."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unic.eval.probes.softmax import Fit, Problem

_GRID = 0.5  # decades of C between two points of the grid
_FIRST = -11  # the grid begins at C = 3e-6, where a solution from zero weights needs only a few matrix products
_TOLERANCE = 1e-3  # at points of the grid
_FINAL_TOLERANCE = 1e-5


class SolutionPath:
    """The solutions for vectors `x (n, r + 1)` in principal axes and labels `y (n,)`, among which each class occurs.

    Weights are nearly linear in log C: where the training loss vanishes they grow along a fixed direction. So the line
    through two points of a grid predicts the next point, and one Newton step corrects it. Between points weights are
    interpolated. A solution depends only on its C and not on earlier calls, and a search over 40 values of C takes as
    long as the grid.
    """

    def __init__(self, x: Tensor, y: Tensor, classes: int) -> None:
        self._problem = Problem.of(x, y, classes)
        self._grid: list[Tensor] = []

    def weights(self, C: float) -> Tensor:
        """Weights `(K, r + 1)` close to the solution for `C`; those of the first point for any smaller C."""
        place = max(_place(C), 0)
        below = math.floor(place)
        self._extend_to(below + 1)
        return torch.lerp(self._grid[below], self._grid[below + 1], place - below)

    def solve(self, C: float) -> Fit:
        """The solution for `C`, to about 1e-5 of the objective."""
        place = _place(C)
        below = math.floor(place)
        self._extend_to(below)
        return self._problem.solve(C, self._start(place, below + 1), tolerance=_FINAL_TOLERANCE)

    def _extend_to(self, last: int) -> None:
        while len(self._grid) <= last:
            place = len(self._grid)
            start = self._start(place, place)
            self._grid.append(
                self._problem.solve(10 ** (_GRID * (_FIRST + place)), start, tolerance=_TOLERANCE).weights
            )

    def _start(self, place: float, known: int) -> Tensor:
        """The weights at a place on the grid, extrapolated from the last two of the first `known` points."""
        if known < 1:
            return torch.zeros(self._problem.classes, self._problem.x.shape[1])
        return torch.lerp(self._grid[max(known - 2, 0)], self._grid[known - 1], place - (known - 2))


def _place(C: float) -> float:
    """The place of `C` on the grid, in points from the first."""
    return math.log10(C) / _GRID - _FIRST
