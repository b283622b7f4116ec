"""Clip art, 14 classes, 128 px colour: Open Clip Art Library, public domain; split by drawing family."""

from __future__ import annotations

from pathlib import Path

from unic.data.sources import Source
from unic.eval.datasets.base import DataPair, sample, sample_train


def load(root: Path, *, download: bool = False) -> DataPair:
    return sample("clipart")


def load_train(root: Path) -> Source:
    return sample_train("clipart")
