"""Clothes, 10 classes, 28 px grey: Fashion-MNIST, MIT."""

from __future__ import annotations

from unic.eval.datasets.base import DataPair, sample


def load(*, max_train: int | None = None, max_test: int | None = None) -> DataPair:
    return sample("fashion", max_train=max_train, max_test=max_test)
