"""Letters, 26 classes, 48 px grey: the ænigma fonts by Brian Kent; the test fonts are unseen in training."""

from __future__ import annotations

from unic.eval.datasets.base import DataPair, sample


def load(*, max_train: int | None = None, max_test: int | None = None) -> DataPair:
    return sample("glyphs", max_train=max_train, max_test=max_test)
