"""The l2-penalised softmax regression behind the logistic probe, solved by Newton's method for one C.

Minimises, over `W (K, D)` and an unpenalised intercept, scikit-learn's objective divided by `n · C`

    f(W) = mean_i −log softmax(W x_i)[y_i] + ‖W‖² / (2 n C).

At large C most small sets are separated perfectly, `f` is a few millionths of a nat, and its curvature fades with the
loss. Two things keep the solution true there. The curvature is always that of the present point, met by conjugate
gradients on the Hessian itself. And probabilities of wrong classes are computed from differences of logits and are
never subtracted from 1, so that single precision keeps their leading digits however small they are.

A rotation of the features leaves the problem unchanged, so `n < D` images need `n` coordinates only, and in the
principal axes the diagonal of the Hessian is a good preconditioner. Along a direction logits are linear, so the line
search costs no matrix product.
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
_ROUNDING = 1e-7  # of an objective in single precision

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
    """The data. All is laid out class first, `(K, n)` and `(K, r + 1)`, which is several times faster with few classes.

    Attributes:
        x: `(n, r + 1)`, vectors in principal axes and a column of ones.
        own: `(1, n)`, labels; each of the `K` classes occurs.
        classes: `K`.
        mean_squares: `(r + 1,)`, of the columns of `x`.
    """

    x: Tensor
    own: Tensor
    classes: int
    mean_squares: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, classes: int) -> Problem:
        return cls(x, y[None], classes, x.square().mean(0))

    def margins(self, weights: Tensor) -> Tensor:
        """`(K, n)`: logits less that of the image's own class, which is 0."""
        logits = weights @ self.x.T
        return logits - logits.gather(0, self.own)

    def solve(self, C: float, start: Tensor, *, tolerance: float) -> Fit:
        """The minimum for this `C`, from the weights `start`.

        Newton steps end after one that was expected to gain less than `tolerance` of the penalty and whose full length
        left a tenth of the slope at most: so the curvature held along it and the expectation was right. That step has
        been taken; what is left is a small part of it. The penalty measures what C decides: a few images that no
        weights separate, such as one with two labels, would hide all others in the objective.
        """
        penalty = torch.full_like(self.mean_squares, 1 / (len(self.x) * C))
        penalty[-1] = 0
        weights, margins = start, self.margins(start)
        point = _Point.of(margins, self)
        if point.loss > math.log(self.classes):  # worse than no weights; far off, curvature is lost to rounding
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
        log.warning("logistic: C = %g is not solved to the end after %d Newton steps", C, _MAX_STEPS)
        return Fit(weights, objective)

    def _newton_step(
        self, point: _Point, gradient: Tensor, penalty: Tensor, wanted: float
    ) -> tuple[Tensor, Tensor, bool]:
        """−Hessian⁻¹ · gradient by conjugate gradients, its margins, and whether they came to an end.

        Each of them gains something by the quadratic model. They end when as many again, each gaining what the last
        did, would gain less than a tenth of all, or of what is `wanted` (after Nash and Sofer, 1990).
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
        """Minimises the convex `f(weights + t · step)` over t, to a tenth of its slope at 0: Newton in a bracket."""
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
    """The loss at some margins. `wrong (K, n)` are probabilities, 0 for the own class; `missed (n,)` their sum."""

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
        # Where the own class is the most likely, log1p keeps the digits of a loss far below 1e-7.
        losses = torch.where(highest > 0, highest + total.log(), -torch.log1p(-missed))
        return cls(problem, wrong, missed, float(losses.mean()))

    def gradient(self) -> Tensor:
        """Of the loss, `(K, r + 1)`."""
        return self._times_images(self.wrong, self.missed)

    def spread(self) -> Tensor:
        """`(K,)`: mean over images of p (1 − p)."""
        own = self.missed * (1 - self.missed)
        return (self.wrong * (1 - self.wrong)).scatter(0, self.problem.own, own[None]).mean(1)

    def curvature_times(self, margins: Tensor) -> Tensor:
        """The Hessian of the loss times the weights that have these margins, `(K, r + 1)`."""
        change = self.wrong * (margins - (self.wrong * margins).sum(0))
        return self._times_images(change, change.sum(0))

    def _times_images(self, wrong: Tensor, missed: Tensor) -> Tensor:
        """`(K, n)`, whose entries at the own class are −`missed`, times the images, over n."""
        return wrong.scatter(0, self.problem.own, -missed[None]) @ self.problem.x / len(self.problem.x)
