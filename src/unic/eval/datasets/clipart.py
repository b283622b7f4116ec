"""Clip art, 14 classes, 128 px colour: Open Clip Art Library, public domain; split by drawing family."""

from __future__ import annotations

from unic.eval.datasets.base import DataPair, sample


def load(*, max_train: int | None = None, max_test: int | None = None) -> DataPair:
    return sample("clipart", max_train=max_train, max_test=max_test)
