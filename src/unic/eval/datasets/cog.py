"""ImageNet-CoG, five levels of 1000 classes of ImageNet-21K, each farther from ImageNet-1K (arXiv 2012.05649).

Levels and splits are published as pickles, which unic does not read. A program in docs/evaluation.md converts them to a
list for each level and part, `L1_train.txt` … `L5_test.txt`, with lines `WNID/FILE`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unic.data.sources.listed import Listed
from unic.errors import InputError, nearest
from unic.eval.datasets._files import Origin, from_list
from unic.eval.datasets.base import DataPair

COUNTS = None  # they differ by level; the numbers that all levels share are verified here
NUM_CLASSES = 1000
TRAIN_PER_CLASS = (732, 1300)  # smallest and largest number of images
TEST_PER_CLASS = 50
_LEVELS = ("1", "2", "3", "4", "5")
_ORIGIN = Origin(
    "cog",
    "images/WNID/*.JPEG of ImageNet-21K (winter 2021) and L1_train.txt to L5_test.txt",
    "https://image-net.org and https://github.com/naver/cog, as docs/evaluation.md describes",
)


def load(root: Path, *, download: bool = False, level: int | str | None = None) -> DataPair:
    """One level, or a set that stands for all five.

    Args:
        root: folder of the benchmark sets.
        download: unused, as unic cannot download the set.
        level: 1 to 5; None: all five, as parts.

    Raises:
        InputError: unknown level, or images or lists that are missing or not as published.
    """
    if level is None:
        parts = {f"L{level}": _level(root, level) for level in _LEVELS}
        return DataPair("cog", parts["L1"].train, parts["L1"].test, parts)
    if str(level) not in _LEVELS:
        raise InputError(f"data 'cog': no level '{level}'{nearest(str(level), _LEVELS)}")
    return _level(root, str(level))


def _level(root: Path, level: str) -> DataPair:
    folder = _ORIGIN.folder(root)
    with _ORIGIN.reading(root):
        train, test = (
            from_list(folder / f"L{level}_{part}.txt", folder / "images", _class) for part in ("train", "test")
        )
    _verify(f"L{level}_train.txt", train, *TRAIN_PER_CLASS)
    _verify(f"L{level}_test.txt", test, TEST_PER_CLASS, TEST_PER_CLASS)
    return DataPair(f"cog-L{level}", train, test)


def _class(name: str) -> str:
    return name.partition("/")[0]


def _verify(file: str, part: Listed, fewest: int, most: int) -> None:
    counts = np.bincount([part.label(index) for index in range(len(part))])
    if len(counts) != NUM_CLASSES:
        raise InputError(f"data 'cog': {file}: expected {NUM_CLASSES} classes, not {len(counts)}")
    if counts.min() < fewest or counts.max() > most:
        given = f"{counts.min()} to {counts.max()}"
        raise InputError(f"data 'cog': {file}: expected {fewest} to {most} images of each class, not {given}")
