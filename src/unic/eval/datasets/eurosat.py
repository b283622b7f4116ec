"""EuroSAT in RGB, 10 kinds of land use seen by a satellite (Helber et al., arXiv 1709.00029); our fixed split.

It has no published split. t-ReX, whose protocol UNIC follows, drew 8,100 test images at random, 810 of each class, and
published no list of them. Our split has the same counts and a fixed draw.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unic.eval.datasets._files import Origin, listed
from unic.eval.datasets._split import held_out
from unic.eval.datasets.base import DataPair

COUNTS = (18_900, 8100, 10)
TEST_PER_CLASS = 810
_ORIGIN = Origin("eurosat", "2750/CLASS/*.jpg", "https://github.com/phelber/EuroSAT", "90 MB")


def load(root: Path, *, download: bool = False) -> DataPair:
    from torchvision.datasets import EuroSAT

    with _ORIGIN.reading(root, download):
        whole = EuroSAT(root, download=download)
    files, labels = [file for file, _ in whole.samples], np.array(whole.targets)
    train, test = (
        listed(_ORIGIN.folder(root) / "2750", [files[index] for index in part], labels[part], whole.classes)
        for part in held_out("eurosat", labels, TEST_PER_CLASS)
    )
    return DataPair("eurosat", train, test)
