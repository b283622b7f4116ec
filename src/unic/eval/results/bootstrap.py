"""Paired percentile bootstrap: every model and task of a set is scored on the same resampled test images and seeds.

Differences between models then keep what images and seeds have in common, which makes their intervals far narrower
than those of the scores (Efron and Tibshirani 1993, chapters 13 and 16).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from unic import rng

RESAMPLES = 1000
LEVEL = 95
TAILS = ((100 - LEVEL) / 2, (100 + LEVEL) / 2)  # percentiles
_CHUNK = 50  # resamples a time: bounds the counts to 50 x n

Sample = Float[np.ndarray, " r"]
"""The scores of one model on one task under each resampling of images and seeds."""


def resampled_means(
    marks: Sequence[Float[np.ndarray, "n _"]], *, seed: int
) -> list[Float[np.ndarray, f"{RESAMPLES} _"]]:
    """Mean marks under resampling of the images, which all results share.

    Args:
        marks: of each result, on the same n images; the number of columns may differ.
        seed: the same seed and n give the same resamples.
    """
    draw = np.random.default_rng(seed)
    count = len(marks[0])
    columns = np.concatenate(marks, axis=1)
    share = np.full(count, 1 / count)
    chunks = [draw.multinomial(count, share, size=_CHUNK) @ columns for _ in range(RESAMPLES // _CHUNK)]
    ends = np.cumsum([part.shape[1] for part in marks])
    return np.split(np.concatenate(chunks) / count, ends[:-1], axis=1)


def seed_effect(scores: Float[np.ndarray, " k"], of: str = "seeds") -> Float[np.ndarray, f"{RESAMPLES}"]:
    """What another draw of seeds, of the probe or of the training, would add to the mean of `scores`, one for each.

    Three seeds drawn from three again and again vary too little: their deviation is 2/3 of the true variance on average
    and often far less. Here the k deviations get weights, `w @ (scores - mean)`, of which each linear combination of
    scores gets Student's t of its own: `s / √k · t` with k − 1 degrees of freedom, s the sample deviation. The weights
    depend on k alone, so results are paired by seed: the effect of a difference is the difference of the effects.

    Args:
        scores: in the order of the seeds; a single one has no effect.
        of: whose seeds; "seeds" are the probe's, which are drawn apart from those of "trainings".
    """
    count = len(scores)
    if count < 2:
        return np.zeros(RESAMPLES)
    draw = np.random.default_rng(rng.stream(f"bootstrap/{of}/{count}"))
    weights = draw.standard_normal((RESAMPLES, count))
    weights -= weights.mean(axis=1, keepdims=True)
    weights /= np.sqrt(count * draw.chisquare(count - 1, (RESAMPLES, 1)))
    return weights @ (scores - scores.mean())


def mean_difference(one: Sequence[Sample], other: Sequence[Sample]) -> list[float]:
    """The paired interval of the mean, over tasks, of how much `one` is above `other`.

    Args:
        one, other: for each task the scores of a model under the same resamples of images and seeds.
    """
    return interval(np.mean([own - rival for own, rival in zip(one, other, strict=True)], axis=0))


def interval(values: Float[np.ndarray, " r"]) -> list[float]:
    """The central 95 % of resampled values, as [low, high]; those that are not defined are left out."""
    low, high = np.nanpercentile(values, TAILS)
    return [round(float(low), 3), round(float(high), 3)]
