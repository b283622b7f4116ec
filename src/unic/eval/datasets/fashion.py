"""Clothes, 10 classes, 28 px grey: Fashion-MNIST, MIT."""

from __future__ import annotations

from pathlib import Path

from unic.data.sources import Source
from unic.eval.datasets.base import DataPair, sample, sample_train


def load(root: Path, *, download: bool = False) -> DataPair:
    return sample("fashion")


def load_train(root: Path) -> Source:
    return sample_train("fashion")
