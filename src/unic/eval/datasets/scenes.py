"""Scenes with masks, 14 kinds of clip art and background, 128 px colour: Open Clip Art on generated textures."""

from __future__ import annotations

from pathlib import Path

from unic.data.sources import Source
from unic.eval.datasets.base import DataPair, sample, sample_train

COUNTS = (900, 300, 15)


def load(root: Path, *, download: bool = False) -> DataPair:
    return sample("scenes")


def load_train(root: Path) -> Source:
    return sample_train("scenes")
