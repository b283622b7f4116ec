"""A fixed test part of sets that are published without one."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int

from unic import rng


def held_out(name: str, labels: Int[np.ndarray, " n"], per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the training and of the test images, ascending: `per_class` test images of each class.

    The draw is keyed by the set's name and the number of each image, the same for everyone and for every seed.
    """
    keys = rng.uniform(rng.stream(name), torch.arange(len(labels))).numpy()
    by_class = np.lexsort((keys, labels))
    first = np.searchsorted(labels[by_class], labels[by_class])
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[by_class[np.arange(len(labels)) - first < per_class]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
