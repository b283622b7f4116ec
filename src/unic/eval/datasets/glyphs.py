"""Letters, 26 classes, 48 px grey: the ænigma fonts by Brian Kent; the test fonts are unseen in training."""

from __future__ import annotations

from pathlib import Path

from unic.data.sources import Source
from unic.eval.datasets.base import DataPair, sample, sample_train


def load(root: Path, *, download: bool = False) -> DataPair:
    return sample("glyphs")


def load_train(root: Path) -> Source:
    return sample_train("glyphs")
