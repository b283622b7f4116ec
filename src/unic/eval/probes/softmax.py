"""The l2-penalised softmax regression behind the logistic probe, solved by Newton's method for one C.

Minimises, over `W (K, D)` and an unpenalised intercept, scikit-learn's objective divided by `n · C`

    f(W) = mean_i −log softmax(W x_i)[y_i] + ‖W‖² / (2 n C).

At large C most small sets are separated perfectly: `f` is a few millionths of a nat, and its curvature vanishes with
the loss. Two things keep the solution accurate there. Conjugate gradients use the exact Hessian of the present point.
Probabilities of wrong classes are computed from differences of logits and never by subtraction from 1, so that single
precision keeps their leading digits however small they are.

A rotation of the features leaves the problem unchanged, so `n < D` images need only `n` coordinates, and in the
principal axes the diagonal of the Hessian is a good preconditioner. Logits are linear along a direction, so the line
search needs no matrix product.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch
from torch import Tensor

_MAX_STEPS = 200
_MAX_INNER = 500  # conjugate gradients in a step
_SEARCH_STEPS = 15
_ROUNDING = 1e-7  # relative rounding error of an objective in single precision

log = logging.getLogger("unic")


@dataclass(frozen=True)
class Fit:
    """A solution: `weights (K, r + 1)` and the value of `f` there."""

    weights: Tensor
    objective: float

    def predict(self, x: Tensor) -> Tensor:
        """Class indices `(n,)` for `x (n, r + 1)`."""
        return (self.weights @ x.T).argmax(0)


@dataclass(frozen=True)
class Problem:
    """The data of a regression.

    Logits are `(K, n)` and weights `(K, r + 1)`, class first, which is several times faster with few classes.

    Attributes:
        x: `(n, r + 1)`, vectors in principal axes and a column of ones.
        own: `(1, n)`, labels; each of the `K` classes occurs.
        classes: number of classes, `K`.
        mean_squares: `(r + 1,)`, mean squares of the columns of `x`.
    """

    x: Tensor
    own: Tensor
    classes: int
    mean_squares: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, classes: int) -> Problem:
        return cls(x, y[None], classes, x.square().mean(0))

    def margins(self, weights: Tensor) -> Tensor:
        """`(K, n)`: logits minus the logit of the image's own class."""
        logits = weights @ self.x.T
        return logits - logits.gather(0, self.own)

    def solve(self, C: float, start: Tensor, *, tolerance: float) -> Fit:
        """The minimum for this `C`, from the weights `start`.

        The last Newton step is one with an expected gain below `tolerance` times the penalty, that was taken in full
        length and left at most a tenth of the slope. Then the curvature was constant along the step, so the expected
        gain was right, and the remaining error is a small part of this step. The gain is compared with the penalty and
        not with the objective: a few images that no weights separate, such as one with two labels, would dominate the
        objective.
        """
        penalty = torch.full_like(self.mean_squares, 1 / (len(self.x) * C))
        penalty[-1] = 0
        weights, margins = start, self.margins(start)
        point = _Point.of(margins, self)
        if point.loss > math.log(self.classes):  # worse than zero weights; so far off, rounding hides the curvature
            weights, margins = torch.zeros_like(weights), torch.zeros_like(margins)
            point = _Point.of(margins, self)
        shrinkage = float((penalty * weights.square()).sum()) / 2
        for _ in range(_MAX_STEPS):
            gradient = point.gradient() + penalty * weights
            step, ahead, is_solved = self._newton_step(point, gradient, penalty, tolerance * shrinkage)
            slope = float((gradient * step).sum())
            length = self._line_search(weights, step, margins, ahead, penalty, slope)
            weights, margins = weights + length * step, margins + length * ahead
            point = _Point.of(margins, self)
            shrinkage = float((penalty * weights.square()).sum()) / 2
            objective = point.loss + shrinkage
            expected = -slope / 2
            if is_solved and (expected <= _ROUNDING * objective or (length == 1 and expected <= tolerance * shrinkage)):
                return Fit(weights, objective)
        log.warning("logistic: C = %g has not converged after %d Newton steps", C, _MAX_STEPS)
        return Fit(weights, objective)

    def _newton_step(
        self, point: _Point, gradient: Tensor, penalty: Tensor, wanted: float
    ) -> tuple[Tensor, Tensor, bool]:
        """−Hessian⁻¹ · gradient by conjugate gradients, its margins, and whether the iterations converged.

        Each iteration has a gain in the quadratic model. After `count` iterations they end if another `count` with the
        last gain would add less than a tenth of the total gain, or of `wanted` (after Nash and Sofer, 1990).
        """
        diagonal = (point.spread()[:, None] * self.mean_squares + penalty).clamp(min=1e-30)
        step, ahead = torch.zeros_like(gradient), torch.zeros_like(point.wrong)
        left = -gradient
        direction = scaled = left / diagonal
        size, gained = float((left * scaled).sum()), 0.0
        for count in range(1, _MAX_INNER + 1):
            margins = self.margins(direction)
            bent = point.curvature_times(margins) + penalty * direction
            length = size / max(float((direction * bent).sum()), 1e-38)
            step, ahead, left = step + length * direction, ahead + length * margins, left - length * bent
            gain = length * size / 2
            gained += gain
            if count * gain <= 0.1 * max(gained, wanted):
                return step, ahead, True
            scaled = left / diagonal
            before, size = size, float((left * scaled).sum())
            direction = scaled + size / before * direction
        return step, ahead, False

    def _line_search(
        self, weights: Tensor, step: Tensor, margins: Tensor, ahead: Tensor, penalty: Tensor, slope: float
    ) -> float:
        """The t that minimises the convex `f(weights + t · step)`, to a tenth of the slope at 0.

        Newton's method inside a bracket.
        """
        linear = float((penalty * weights * step).sum())
        square = float((penalty * step.square()).sum())
        low, high, length = 0.0, math.inf, 1.0
        for _ in range(_SEARCH_STEPS):
            p = (margins + length * ahead).softmax(0)
            mean = (p * ahead).sum(0)
            here = float(mean.mean()) + linear + length * square
            if abs(here) <= 0.1 * abs(slope):
                break
            low, high = (length, high) if here < 0 else (low, length)
            bend = float((p * (ahead - mean).square()).sum(0).mean()) + square
            newton = length - here / max(bend, 1e-30)
            if high == math.inf:
                length = min(max(newton, 1.1 * low), 4 * low)
            else:
                length = newton if low < newton < high else (low + high) / 2
        return length


@dataclass(frozen=True)
class _Point:
    """The loss at some margins, with the probabilities `wrong (K, n)`, 0 for the own class, and their sum
    `missed (n,)`."""

    problem: Problem
    wrong: Tensor
    missed: Tensor
    loss: float

    @classmethod
    def of(cls, margins: Tensor, problem: Problem) -> _Point:
        highest = margins.amax(0)
        parts = (margins - highest).exp()
        total = parts.sum(0)
        wrong = (parts / total).scatter(0, problem.own, 0.0)
        missed = wrong.sum(0)
        # If the own class is the most likely, log1p keeps the digits of a loss far below 1e-7.
        losses = torch.where(highest > 0, highest + total.log(), -torch.log1p(-missed))
        return cls(problem, wrong, missed, float(losses.mean()))

    def gradient(self) -> Tensor:
        """Gradient of the loss, `(K, r + 1)`."""
        return self._times_images(self.wrong, self.missed)

    def spread(self) -> Tensor:
        """Mean over images of p (1 − p), `(K,)`."""
        own = self.missed * (1 - self.missed)
        return (self.wrong * (1 - self.wrong)).scatter(0, self.problem.own, own[None]).mean(1)

    def curvature_times(self, margins: Tensor) -> Tensor:
        """The Hessian of the loss times the weights that have these margins, `(K, r + 1)`."""
        change = self.wrong * (margins - (self.wrong * margins).sum(0))
        return self._times_images(change, change.sum(0))

    def _times_images(self, wrong: Tensor, missed: Tensor) -> Tensor:
        """`wrong (K, n)`, with −`missed` as entries of the own class, times the images `x`, divided by n."""
        return wrong.scatter(0, self.problem.own, -missed[None]) @ self.problem.x / len(self.problem.x)
