"""Concatenation of all teachers: each is standardised with training statistics and divided by √dim.

The division gives every teacher an expected squared norm of 1, so that wide teachers do not dominate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unic.eval.outcome import Labelled

_EPS = 1e-6


def concatenate(parts: Sequence[tuple[Labelled, Labelled]]) -> tuple[Labelled, Labelled]:
    """Joins (train, test) pairs of the same images, `(n, D_t)` each, to `(n, ΣD_t)`."""
    train, test = zip(*(_scaled(*part) for part in parts), strict=True)
    first_train, first_test = parts[0]
    return Labelled(np.concatenate(train, axis=1), first_train.y), Labelled(np.concatenate(test, axis=1), first_test.y)


def _scaled(train: Labelled, test: Labelled) -> tuple[np.ndarray, np.ndarray]:
    mean, std = train.x.mean(0), train.x.std(0)
    divisor = np.float32(np.sqrt(train.x.shape[1])) * (std + _EPS)
    return (train.x - mean) / divisor, (test.x - mean) / divisor
