"""Intervals of a mean against scipy's percentile bootstrap and the exact binomial.

Draws differ, so they agree up to the noise of 1,000 resamples: 0.02 standard errors of the score in a mean of 16 seeds.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom, bootstrap

from unic.eval.results.bootstrap import interval, resampled_means

SEEDS = 16
TOLERANCE = 0.08  # standard errors of the score


def ours(marks: np.ndarray, weights: list[float]) -> np.ndarray:
    """Mean over seeds of the interval of a weighted sum of columns' means."""
    drawn = [resampled_means([marks], seed=seed)[0] @ weights for seed in range(SEEDS)]
    return np.mean([interval(values) for values in drawn], axis=0)


def test_share_of_right_answers_is_a_binomial() -> None:
    marks = np.repeat([1.0, 0.0], [700, 300])[:, None]
    expected = 100 * binom.ppf([0.025, 0.975], 1000, 0.7) / 1000
    error = 100 * np.sqrt(0.7 * 0.3 / 1000)
    np.testing.assert_allclose(ours(marks, [100.0]), expected, atol=TOLERANCE * error)


def test_skewed_marks() -> None:
    marks = 100 * np.random.default_rng(0).lognormal(sigma=2, size=(60, 1))
    theirs = bootstrap((marks[:, 0],), np.mean, n_resamples=50_000, method="percentile", rng=np.random.default_rng(1))
    expected = [theirs.confidence_interval.low, theirs.confidence_interval.high]
    assert expected[1] - marks.mean() > 1.2 * (marks.mean() - expected[0])  # or it would not matter which interval
    np.testing.assert_allclose(ours(marks, [1.0]), expected, atol=TOLERANCE * theirs.standard_error)


def test_difference_of_two_models_on_the_same_images() -> None:
    draw = np.random.default_rng(0)
    first = 100 * draw.random(80)
    second = first + 20 * draw.random(80)

    def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return b.mean(axis) - a.mean(axis)

    theirs = bootstrap(
        (first, second), difference, paired=True, n_resamples=50_000, method="percentile", rng=np.random.default_rng(1)
    )
    expected = [theirs.confidence_interval.low, theirs.confidence_interval.high]
    found = ours(np.stack([first, second], axis=1), [-1.0, 1.0])
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * theirs.standard_error)
