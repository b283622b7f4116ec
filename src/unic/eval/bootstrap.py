"""Paired percentile bootstrap: every model and task of a set is scored on the same resampled test images.

Differences between models then keep what the images have in common, which makes their intervals far narrower than
those of the scores (Efron and Tibshirani 1993, chapters 13 and 16).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

RESAMPLES = 1000
LEVEL = 95
_CHUNK = 50  # resamples a time: bounds the counts to 50 x n


def resampled_means(
    marks: Sequence[Float[np.ndarray, "n k"]], *, seed: int
) -> list[Float[np.ndarray, f"{RESAMPLES} k"]]:
    """Mean marks under resampling of the images, which all results share.

    Args:
        marks: of each result, on the same n images; the number of columns may differ.
        seed: the same seed and n give the same resamples.
    """
    rng = np.random.default_rng(seed)
    count = len(marks[0])
    columns = np.concatenate(marks, axis=1)
    share = np.full(count, 1 / count)
    chunks = [rng.multinomial(count, share, size=_CHUNK) @ columns for _ in range(RESAMPLES // _CHUNK)]
    ends = np.cumsum([part.shape[1] for part in marks])
    return np.split(np.concatenate(chunks) / count, ends[:-1], axis=1)


def interval(values: Float[np.ndarray, " r"]) -> list[float]:
    """The central 95 % of resampled values, as [low, high]; those that are not defined are left out."""
    low, high = np.nanpercentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return [round(float(low), 3), round(float(high), 3)]
