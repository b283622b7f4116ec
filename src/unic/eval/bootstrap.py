"""Paired percentile bootstrap: every model and task of a set is scored on the same resampled test images.

Differences between models then keep what the images have in common, which makes their intervals far narrower than
those of the scores (Efron and Tibshirani 1993, chapters 13 and 16).
"""

from __future__ import annotations

import numpy as np

RESAMPLES = 1000
LEVEL = 95
_CHUNK = 50  # resamples a time: bounds the counts to 50 x n


def resample(correct: np.ndarray, *, seed: int) -> np.ndarray:
    """Scores under resampling of the images.

    Args:
        correct: `(m, n)`, a row of marks in [0, 1] for each of m results on the same n images.
        seed: the same seed and n give the same resamples.

    Returns:
        `(RESAMPLES, m)`, 0 to 100.
    """
    rng = np.random.default_rng(seed)
    count = correct.shape[1]
    share = np.full(count, 1 / count)
    chunks = [rng.multinomial(count, share, size=_CHUNK) @ correct.T for _ in range(RESAMPLES // _CHUNK)]
    return np.concatenate(chunks) * (100 / count)


def interval(values: np.ndarray) -> list[float]:
    """The central 95 % of resampled values `(RESAMPLES,)`, as [low, high]."""
    low, high = np.percentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return [round(float(low), 3), round(float(high), 3)]
