"""The l2-penalised softmax regression behind the logistic probe, solved in the basis where it is easy.

Minimises, over `W (D, K)` and an unpenalised intercept, scikit-learn's objective divided by `n · C`

    f(W) = mean_i −log softmax(x_i W)[y_i] + ‖W‖² / (2 n C).

Three facts make it fast. A rotation of the features leaves the problem unchanged, so `n < D` images need `n`
coordinates only. In the principal axes, with variances λ, the Hessian at `W = 0` is `diag(λ / K + 1 / (n C))`: an exact
diagonal preconditioner there and, being Böhning's bound up to a factor (1992), a sound one everywhere; L-BFGS corrects
the rest. And what L-BFGS has learnt of the curvature of the loss holds for every C: along a path of them it is kept.
Along a search direction logits are linear, so the line search costs no matrix product.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_HISTORY = 50  # pairs; from 30 on a path needs a tenth of the iterations that it needs with 10
_MAX_ITERATIONS = 2000
_GRID = 0.5  # decades of C between two points of a path
_FIRST = -11  # a path begins at C = 3e-6, where a cold start needs a handful of iterations
_SEARCH_STEPS = 12
# Part of the tolerance, in nats an image, at which fitting ends too: at large C separable data would decrease for ever.
_FLOOR = 0.01


@dataclass(frozen=True)
class Axes:
    """Standardisation with the training split's statistics, then rotation to its principal axes."""

    mean: Tensor  # (D,)
    std: Tensor  # (D,)
    rotation: Tensor  # (D, r), orthonormal columns, r = min(n, D)

    @classmethod
    def fit(cls, x: np.ndarray) -> Axes:
        """From training vectors `(n, D)`."""
        data, mean, std = _standardised(x)
        if len(data) < data.shape[1]:
            span, coordinates = torch.linalg.qr(data.T)
            return cls(mean, std, span @ torch.linalg.eigh(coordinates @ coordinates.T).eigenvectors)
        return cls(mean, std, torch.linalg.eigh(data.T @ data).eigenvectors)

    def __call__(self, x: np.ndarray) -> Tensor:
        """`(n, D)` → `(n, r + 1)`: coordinates and a last column of ones, the intercept's."""
        data = (torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)) - self.mean) / self.std
        return F.pad(data @ self.rotation, (0, 1), value=1.0)

    def of_part(self, x: np.ndarray) -> Axes:
        """For a part of the vectors: standardised by itself; a square rotation serves it as well as its own would."""
        if len(x) < x.shape[1]:
            return Axes.fit(x)
        _, mean, std = _standardised(x)
        return Axes(mean, std, self.rotation)

    def translated(self, weights: Tensor, other: Axes) -> Tensor:
        """Weights `(K, r' + 1)` in the axes of `other` as `(K, r + 1)` in these: the same logits, within their span."""
        plain = weights[:, :-1] @ other.rotation.T / other.std
        intercept = weights[:, -1:] + (plain @ (self.mean - other.mean))[:, None]
        return torch.cat([plain * self.std @ self.rotation, intercept], 1)


def _standardised(x: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """`x (n, D)` in standard deviations from the mean, the mean, the standard deviation."""
    data = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    mean, std = data.mean(0), data.std(0, correction=0)
    std[std < 1e-6 * std.max().clamp(min=1e-30)] = 1  # constant channels stay 0, as in scikit-learn
    return (data - mean) / std, mean, std


@dataclass(frozen=True)
class Pair:
    """A step and how it changed the gradient of the loss, without the penalty's: both `(K, r + 1)`."""

    move: Tensor
    change: Tensor


@dataclass(frozen=True)
class Fit:
    """A solution: `weights (K, r + 1)`, the value of `f` there, the last steps and how many there were."""

    weights: Tensor
    objective: float
    pairs: Iterable[Pair]
    iterations: int

    def predict(self, x: Tensor) -> Tensor:
        """Class indices `(n,)` for `x (n, r + 1)`."""
        return (self.weights @ x.T).argmax(0)


def fit(
    x: Tensor,
    y: Tensor,
    classes: int,
    C: float,
    *,
    start: Tensor | None = None,
    pairs: Iterable[Pair] = (),
    tolerance: float = 1e-7,
) -> Fit:
    """Solves the problem for `x (n, r + 1)` in principal axes (`Axes`) and labels `y (n,)`.

    Everything is laid out class first, `(K, n)` and `(K, r + 1)`: with few classes the matrix products are several
    times, and the softmax twenty times, faster that way round.

    Args:
        C: inverse strength of the penalty, as in scikit-learn.
        start: weights to start from, such as the solution of a near `C`.
        pairs: of a fit to the same data with any `C`.
        tolerance: stop when the expected further decrease is this part of the objective.
    """
    problem = _Problem.of(x, y, classes, C)
    curvature = _Curvature(problem, pairs)
    weights = torch.zeros(classes, x.shape[1]) if start is None else start
    logits = weights @ x.T
    value, of_loss = problem.evaluate(weights, logits)
    for iteration in range(_MAX_ITERATIONS):
        gradient = of_loss + problem.penalty * weights
        direction = -curvature.solve(gradient)
        slope = float((gradient * direction).sum())
        # Half the Newton decrement: what the quadratic model still expects to gain.
        if -slope / 2 <= tolerance * (value + _FLOOR):
            return Fit(weights, value, curvature.pairs, iteration)
        ahead = direction @ x.T
        step = problem.line_search(weights, direction, logits, ahead, slope)
        move, before = step * direction, of_loss
        weights, logits = weights + move, logits + step * ahead
        value, of_loss = problem.evaluate(weights, logits)
        curvature.add(Pair(move, of_loss - before))
    return Fit(weights, value, curvature.pairs, _MAX_ITERATIONS)


class Path:
    """Solutions along C: a grid, each point continued from the one below, and weights interpolated in log C between.

    Beyond the C where the training loss vanishes (most sets with n < D) only the penalty still changes: continuation
    then keeps the regularised solution, where a cold start would stop early at an arbitrary one. A solution is a
    function of its C alone, whatever was asked before, and a search of 40 values costs what the grid costs.
    """

    def __init__(self, x: Tensor, y: Tensor, classes: int, *, tolerance: float) -> None:
        self._problem = (x, y, classes)
        self._tolerance = tolerance
        self._grid: list[Tensor] = []
        self._pairs: Iterable[Pair] = ()

    def weights(self, C: float) -> Tensor:
        """`(K, r + 1)`; those of the first grid point for a smaller `C`."""
        place = max(math.log10(C) / _GRID - _FIRST, 0)
        below = math.floor(place)
        while len(self._grid) < below + 2:
            self._extend()
        return torch.lerp(self._grid[below], self._grid[below + 1], place - below)

    def _extend(self) -> None:
        C = 10 ** (_GRID * (_FIRST + len(self._grid)))
        start = self._grid[-1] if self._grid else None
        solution = fit(*self._problem, C, start=start, pairs=self._pairs, tolerance=self._tolerance)
        self._grid.append(solution.weights)
        self._pairs = solution.pairs


@dataclass(frozen=True)
class _Problem:
    x: Tensor  # (n, r + 1)
    target: Tensor  # (K, n), one-hot
    penalty: Tensor  # (r + 1,), 1 / (n C) and 0 for the intercept
    inverse: Tensor  # (r + 1,), the diagonal preconditioner

    @classmethod
    def of(cls, x: Tensor, y: Tensor, classes: int, C: float) -> _Problem:
        penalty = torch.full((x.shape[1],), 1 / (len(x) * C))
        penalty[-1] = 0
        curvature = x.square().mean(0) / classes + penalty
        target = F.one_hot(y, classes).T.to(x.dtype).contiguous()
        return cls(x, target, penalty, 1 / curvature.clamp(min=1e-12))

    def evaluate(self, weights: Tensor, logits: Tensor) -> tuple[float, Tensor]:
        """The objective, and the gradient `(K, r + 1)` of the loss alone."""
        log_p = logits.log_softmax(0)
        penalty = float((self.penalty * weights.square()).sum()) / 2
        value = penalty - float((log_p * self.target).sum()) / len(self.x)
        return value, (log_p.exp() - self.target) / len(self.x) @ self.x

    def line_search(self, weights: Tensor, direction: Tensor, logits: Tensor, ahead: Tensor, slope: float) -> float:
        """Minimises the convex `f(weights + t · direction)` over t, to a tenth of its slope at 0: Newton in a bracket.

        `ahead (K, n)` are the logits of `direction`.
        """
        wanted = float((ahead * self.target).sum()) / len(self.x)
        linear = float((self.penalty * weights * direction).sum())
        square = float((self.penalty * direction.square()).sum())
        low, high, step = 0.0, float("inf"), 1.0
        for _ in range(_SEARCH_STEPS):
            p = (logits + step * ahead).softmax(0)
            mean = (p * ahead).sum(0)
            here = float(mean.mean()) - wanted + linear + step * square
            if abs(here) <= 0.1 * abs(slope):
                break
            low, high = (step, high) if here < 0 else (low, step)
            bend = float(((p * ahead.square()).sum(0) - mean.square()).mean()) + square
            newton = step - here / max(bend, 1e-30)
            if high == float("inf"):
                step = min(max(newton, 1.1 * low), 4 * low)
            else:
                step = newton if low < newton < high else (low + high) / 2
        return step


class _Curvature:
    """The L-BFGS estimate of the inverse Hessian, from the diagonal start (Nocedal 1980)."""

    def __init__(self, problem: _Problem, pairs: Iterable[Pair]) -> None:
        self._problem = problem
        self.pairs: deque[Pair] = deque(maxlen=_HISTORY)
        # Flat, with the penalty's part of the change, and with the product of the two.
        self._steps: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=_HISTORY)
        for pair in pairs:
            self.add(pair)

    def add(self, pair: Pair) -> None:
        move, change = pair.move.flatten(), (pair.change + self._problem.penalty * pair.move).flatten()
        product = float(torch.dot(move, change))
        if product > 0:  # rounding can spoil a last tiny step
            self.pairs.append(pair)
            self._steps.append((move, change, product))

    def solve(self, gradient: Tensor) -> Tensor:
        """Inverse Hessian · gradient, in two loops over the steps."""
        flat = gradient.flatten().clone()
        factors = []
        for move, change, product in reversed(self._steps):
            factors.append(float(torch.dot(move, flat)) / product)
            flat.add_(change, alpha=-factors[-1])
        found = flat.view_as(gradient) * self._problem.inverse
        if self._steps:
            _, change, product = self._steps[-1]
            found *= product / float((change.view_as(gradient).square() * self._problem.inverse).sum())
        flat = found.flatten()
        for (move, change, product), factor in zip(self._steps, reversed(factors), strict=True):
            flat.add_(move, alpha=factor - float(torch.dot(change, flat)) / product)
        return flat.view_as(gradient)
