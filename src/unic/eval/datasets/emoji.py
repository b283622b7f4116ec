"""Emoji, 9 classes, 64 px colour: Noto emoji by Google, Apache-2.0."""

from __future__ import annotations

from pathlib import Path

from unic.data.sources import Source
from unic.eval.datasets.base import DataPair, sample, sample_train


def load(root: Path, *, download: bool = False) -> DataPair:
    return sample("emoji")


def load_train(root: Path) -> Source:
    return sample_train("emoji")
