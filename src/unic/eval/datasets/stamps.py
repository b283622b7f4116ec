"""Stamps of Tux Paint, 14 classes, 128 px colour: photographs and drawings that no sample recipe is trained on."""

from __future__ import annotations

from pathlib import Path

from unic.data.sources import Source
from unic.eval.datasets.base import DataPair, sample, sample_train


def load(root: Path, *, download: bool = False) -> DataPair:
    return sample("stamps")


def load_train(root: Path) -> Source:
    return sample_train("stamps")
