"""Clothes, 10 classes, 28 px grey: Fashion-MNIST, MIT."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets.base import DataPair, sample


def load(root: Path, *, download: bool = False) -> DataPair:
    return sample("fashion")
