"""The interval of an advantage over the best of several rivals, where the best is chosen on the images it is scored on.

The best of M equal teachers is the luckiest one, so an interval that takes it for given says "below" far too often. The
advantage over the best is the smallest of those over each: it is above a bound where all of them are, and below one
where any is. Hence the two ends

    low  = min over rivals of each one's own lower end
    high = min over rivals of upper ends that hold for all of them at once: `d + c · w`, with w the rival's own reach
           upwards and c from the largest of the studentised deviations (max-t; Romano and Wolf, Econometrica 2005)

For a mean over tasks, each with a best rival of its own, the rivals are all choices of one for each task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from unic.eval.results.bootstrap import TAILS

_HOPELESS = 0.5  # percent of the resamples in which a rival beats the best; with fewer it cannot be the best
_ROUNDING = 1e-9


class Rivals(NamedTuple):
    """Advantages over each of m rivals in one task.

    Attributes:
        measured: on all images.
        drawn: under each resampling of images and seeds; NaN where it is not defined.
    """

    measured: Float[np.ndarray, " m"]
    drawn: Float[np.ndarray, "m r"]


def interval_over_best(tasks: Sequence[Rivals]) -> list[float]:
    """The 95 % interval [low, high] of the mean, over tasks, of the advantage over the best rival of each.

    With a single rival in every task it is the percentile interval. "Better than the best" by `low > 0` and "worse" by
    `high < 0` are each wrong in at most 2.5 % of evaluations, up to the error of the bootstrap itself.

    Args:
        tasks: at least one, each with at least one rival and with the same number of resamples.
    """
    return [round(_low(tasks), 3), round(_high(tasks), 3)]


def _low(tasks: Sequence[Rivals]) -> float:
    """The smallest lower end over the choices of a rival for each task, found task by task from the best ones on."""
    chosen = [int(task.measured.argmin()) for task in tasks]
    total = np.sum([task.drawn[rival] for task, rival in zip(tasks, chosen, strict=True)], axis=0)
    low, before = float(np.nanpercentile(total, TAILS[0])), np.inf
    while low < before:
        before = low
        for place, task in enumerate(tasks):
            totals = total + task.drawn - task.drawn[chosen[place]]
            ends = np.nanpercentile(totals, TAILS[0], axis=1)
            if ends.min() < low - _ROUNDING:
                chosen[place] = int(ends.argmin())
                low, total = float(ends.min()), totals[chosen[place]]
    return low / len(tasks)


def _high(tasks: Sequence[Rivals]) -> float:
    tasks = [_contenders(task) for task in tasks]
    defined = np.all([np.isfinite(task.drawn).all(axis=0) for task in tasks], axis=0)
    tasks = [Rivals(task.measured, task.drawn[:, defined]) for task in tasks]
    reaches = [np.maximum(np.percentile(task.drawn, TAILS[1], axis=1) - task.measured, 0) for task in tasks]
    factor = float(np.percentile(_largest_deviation(tasks, reaches), TAILS[1]))
    ends = [(task.measured + factor * reach).min() for task, reach in zip(tasks, reaches, strict=True)]
    return float(np.mean(ends))


def _contenders(task: Rivals) -> Rivals:
    """Without the rivals that lose to the best one in nearly every resample: they would only widen the interval."""
    best = task.drawn[task.measured.argmin()]
    wins = 100 * (task.drawn <= best).mean(axis=1)
    kept = (wins >= _HOPELESS) | (task.measured == task.measured.min())
    return Rivals(task.measured[kept], task.drawn[kept])


def _largest_deviation(tasks: Sequence[Rivals], reaches: Sequence[Float[np.ndarray, " _"]]) -> Float[np.ndarray, " r"]:
    """For each resample the largest ratio `Σ deviation / Σ reach` over the choices of a rival for each task.

    The choice that maximises `Σ (deviation − ratio · reach)` is made task by task; a ratio that it leaves as it is is
    the largest (Dinkelbach, Management Science 1967). It only rises on the way: a choice without any reach has no
    ratio, and if it could lower what is found, it would be picked in turn with another one for ever.
    """
    deviations = [task.drawn - task.measured[:, None] for task in tasks]
    ratio, before = np.zeros(deviations[0].shape[1]), None
    while before is None or np.abs(ratio - before).max(initial=0) > _ROUNDING:
        before, sums, reach_sums = ratio, np.zeros_like(ratio), np.zeros_like(ratio)
        for deviation, reach in zip(deviations, reaches, strict=True):
            chosen = (deviation - ratio * reach[:, None]).argmax(axis=0)
            sums += np.take_along_axis(deviation, chosen[None], axis=0)[0]
            reach_sums += reach[chosen]
        found = np.divide(sums, reach_sums, out=np.zeros_like(sums), where=reach_sums > 0)
        ratio = np.maximum(before, found)
    return ratio
