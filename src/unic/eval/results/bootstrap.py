"""Paired percentile bootstrap: every model and task of a set is scored on the same resampled test images and seeds.

What is common to all models on some images and seeds then cancels in their differences, whose intervals are far
narrower than those of the scores (Efron and Tibshirani 1993, chapters 13 and 16).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from unic import rng

RESAMPLES = 1000
LEVEL = 95
TAILS = ((100 - LEVEL) / 2, (100 + LEVEL) / 2)  # percentiles
_CHUNK = 50  # resamples at a time, so that counts take 50 × n numbers

Key = TypeVar("Key")
Sample = Float[np.ndarray, " r"]
"""The scores of one model on one task under each resampling of images and seeds."""


def resampled_means(
    marks: Sequence[Float[np.ndarray, "n _"]], *, seed: int
) -> list[Float[np.ndarray, f"{RESAMPLES} _"]]:
    """Mean marks of each result under resampling of the images, with the same resamples for all results.

    Args:
        marks: marks of each result, on the same n images; the number of columns may differ.
        seed: seed of the resamples, which depend on it and on n only.
    """
    draw = np.random.default_rng(seed)
    count = len(marks[0])
    columns = np.concatenate(marks, axis=1)
    share = np.full(count, 1 / count)
    chunks = [draw.multinomial(count, share, size=_CHUNK) @ columns for _ in range(RESAMPLES // _CHUNK)]
    ends = np.cumsum([part.shape[1] for part in marks])
    return np.split(np.concatenate(chunks) / count, ends[:-1], axis=1)


def seed_of(set_name: str) -> int:
    """The seed of the resamples of a set. Scores that are read from several files are paired by it."""
    return rng.stream(f"bootstrap/{set_name}")


def image_effects(marks: Mapping[Key, Float[np.ndarray, " _"]], set_name: str) -> dict[Key, Sample]:
    """The change of each result's mean mark by other test images, in each resample.

    Args:
        marks: a mark for each image, by result. Results with the same number of images share their resamples.
        set_name: name of the set of the images.
    """
    found: dict[Key, Sample] = {}
    for count in {len(each) for each in marks.values()}:
        own = {key: each for key, each in marks.items() if len(each) == count}
        drawn = resampled_means([each[:, None] for each in own.values()], seed=seed_of(set_name))
        found |= {key: sample[:, 0] - own[key].mean() for key, sample in zip(own, drawn, strict=True)}
    return found


def seed_effect(scores: Float[np.ndarray, " k"], of: str = "seeds") -> Float[np.ndarray, f"{RESAMPLES}"]:
    """The change of the mean of `scores` by other seeds of the probe or of the training, in each resample.

    Drawing three seeds from three with replacement varies too little: the variance is 2/3 of the true one on average
    and often far less. Here the effect is `w @ (scores - mean)` with random weights w, chosen so that it has the
    distribution of Student's t, `s / √k · t` with k − 1 degrees of freedom and the sample deviation s. The weights
    depend on k only. So results are paired by seed: the effect on a difference of scores is the difference of the
    effects.

    Args:
        scores: one score for each seed, in the order of the seeds; the effect of a single seed is 0.
        of: the kind of seeds: "seeds" for those of the probe, "trainings" for those of trainings, with other weights.
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
    """The paired interval of the mean difference `one` minus `other` over tasks.

    Args:
        one, other: scores of a model in each task, under the same resamples of images and seeds.
    """
    return interval(np.mean([own - rival for own, rival in zip(one, other, strict=True)], axis=0))


def interval(values: Float[np.ndarray, " r"]) -> list[float]:
    """The central 95 % of resampled values, as [low, high]; NaN values do not count."""
    low, high = np.nanpercentile(values, TAILS)
    return [round(float(low), 3), round(float(high), 3)]
