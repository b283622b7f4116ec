"""The interval of an advantage over the best of several rivals, if the best is chosen on the images that score it.

The best of M equal teachers is partly the luckiest one, so an interval that ignores the choice says "below" far too
often. The advantage over the best rival is the smallest of the advantages over each: it is above a bound if all of them
are, and below a bound if any of them is. This gives the two ends

    low  = min over rivals of the lower end for that rival
    high = min over rivals of upper ends that hold for all rivals at once: `d + c · w`, where w is the rival's distance
           from its estimate d to its upper end and c comes from the largest of the studentised deviations (max-t;
           Romano and Wolf, Econometrica 2005)

For a mean over tasks the rivals are all combinations of one rival for each task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from unic.eval.results.bootstrap import TAILS

_HOPELESS = 0.5  # a rival that beats the best in less than this percentage of the resamples is left out
_ROUNDING = 1e-9


class Rivals(NamedTuple):
    """Advantages over each of m rivals in one task.

    Attributes:
        measured: advantages on all images.
        drawn: advantages under each resampling of images and seeds; NaN where undefined.
    """

    measured: Float[np.ndarray, " m"]
    drawn: Float[np.ndarray, "m r"]


def interval_over_best(tasks: Sequence[Rivals]) -> list[float]:
    """The 95 % interval [low, high] of the mean, over tasks, of the advantage over the best rival of each.

    With a single rival in every task it is the percentile interval. `low > 0` (better than the best) and `high < 0`
    (worse) are each wrong in at most 2.5 % of evaluations, up to the error of the bootstrap.

    Args:
        tasks: the rivals of each task: at least one task, each with at least one rival, all with the same resamples.
    """
    return [round(_low(tasks), 3), round(_high(tasks), 3)]


def _low(tasks: Sequence[Rivals]) -> float:
    """The smallest lower end over the combinations of rivals, searched task by task from the best rivals on."""
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
    """The rivals without those that lose to the best one in nearly every resample, which would widen the interval."""
    best = task.drawn[task.measured.argmin()]
    wins = 100 * (task.drawn <= best).mean(axis=1)
    kept = (wins >= _HOPELESS) | (task.measured == task.measured.min())
    return Rivals(task.measured[kept], task.drawn[kept])


def _largest_deviation(tasks: Sequence[Rivals], reaches: Sequence[Float[np.ndarray, " _"]]) -> Float[np.ndarray, " r"]:
    """For each resample the largest ratio `Σ deviation / Σ reach` over the combinations of rivals.

    Given a ratio, the combination that maximises `Σ (deviation − ratio · reach)` is found task by task, and gives the
    next ratio; the largest ratio is the one that stays the same (Dinkelbach, Management Science 1967). The ratio must
    only rise: a combination with a reach of 0 has no ratio, and without this rule the search could alternate between it
    and another one forever.
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
