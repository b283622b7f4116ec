"""A fixed test part for sets that are published without one."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int

from unic import rng


def held_out(name: str, labels: Int[np.ndarray, " n"], per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the test images, ascending, with `per_class` test images of each class.

    The draw depends on the name of the set and on the index of each image only, so it is the same in every evaluation.

    Args:
        name: name of the set.
        labels: class of each image.
        per_class: number of test images of each class.
    """
    keys = rng.uniform(rng.stream(name), torch.arange(len(labels))).numpy()
    by_class = np.lexsort((keys, labels))
    first = np.searchsorted(labels[by_class], labels[by_class])
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[by_class[np.arange(len(labels)) - first < per_class]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
