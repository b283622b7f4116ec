"""What every task takes and returns: labelled vectors in, one score and one mark per test image out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unic.errors import InputError


@dataclass(frozen=True, eq=False)  # compared and hashed by identity
class Labelled:
    """Frozen vectors of a split with their labels. Where they came from (one encoder, several, pixels) is not told.

    Attributes:
        x: `(n, D)` float32.
        y: `(n,)` int64, class indices from 0.
    """

    x: np.ndarray
    y: np.ndarray

    def __post_init__(self) -> None:
        assert self.x.ndim == 2, self.x.shape
        assert self.y.shape == self.x.shape[:1], (self.x.shape, self.y.shape)


@dataclass(frozen=True)
class Outcome:
    """The result of one task on one set with one seed.

    Attributes:
        score: 0 to 100, top-1.
        correct: `(n_test,)` float, 1 where the image was classified correctly: what a paired bootstrap resamples.
        details: whatever else the task chose or measured, ready for JSON.
    """

    score: float
    correct: np.ndarray
    details: dict[str, Any] = field(default_factory=dict)


def outcome(predicted: np.ndarray, test: Labelled, **details: Any) -> Outcome:
    """Top-1 and mean per-class accuracy of predicted class indices `(n_test,)`."""
    correct = (predicted == test.y).astype(np.float64)
    per_class = [correct[test.y == label].mean() for label in np.unique(test.y)]
    mean_per_class = round(100 * float(np.mean(per_class)), 3)
    return Outcome(100 * float(correct.mean()), correct, {"mean_per_class": mean_per_class, **details})


def num_classes(train: Labelled) -> int:
    """Classes of a training split.

    Raises:
        InputError: it is empty or has a single class, so there is nothing to learn.
    """
    if len(np.unique(train.y)) < 2:
        raise InputError(f"a probe needs at least two classes of training images, not {len(np.unique(train.y))}")
    return int(train.y.max()) + 1
