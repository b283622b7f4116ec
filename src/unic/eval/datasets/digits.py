"""Handwritten digits, 10 classes, 8 px grey: the 1,797 images in scikit-learn (UCI); our fixed split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unic.data.sources.arrays import Arrays
from unic.eval.datasets._split import held_out
from unic.eval.datasets.base import DataPair

COUNTS = (997, 800, 10)
TEST_PER_CLASS = 80


def load(root: Path, *, download: bool = False) -> DataPair:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # from 17 shades of grey, 0 to 16
    classes = [str(name) for name in digits.target_names]
    train, test = (
        Arrays("digits", images[part], digits.target[part], classes)
        for part in held_out("digits", digits.target, TEST_PER_CLASS)
    )
    return DataPair("digits", train, test)
