"""Emoji, 9 classes, 64 px colour: Noto emoji by Google, Apache-2.0."""

from __future__ import annotations

from unic.eval.datasets.base import DataPair, sample


def load(*, max_train: int | None = None, max_test: int | None = None) -> DataPair:
    return sample("emoji", max_train=max_train, max_test=max_test)
