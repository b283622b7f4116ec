"""ADE20K scene parsing, 150 classes; train and validation of the 2016 challenge (Zhou et al., arXiv 1608.05442).

Masks have the classes 1 to 150, and 0 for all other things, which do not count.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unic.data.sources.dense import PixelPairs
from unic.eval.datasets._files import Origin
from unic.eval.datasets.base import DataPair

COUNTS = (20210, 2000, 150)
NUM_CLASSES = 150
_ORIGIN = Origin(
    "ade20k",
    "ADEChallengeData2016/images/ and ADEChallengeData2016/annotations/, each with training/ and validation/",
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
)


def load(root: Path, *, download: bool = False) -> DataPair:
    return DataPair("ade20k", load_train(root), _part(root, "validation"))


def load_train(root: Path) -> PixelPairs:
    return _part(root, "training")


def from_zero(mask: np.ndarray) -> np.ndarray:
    """A mask in which classes 1 … 150 become 0 … 149, and 0 becomes 255, by 8-bit arithmetic."""
    return mask - np.uint8(1)


def _part(root: Path, part: str) -> PixelPairs:
    folder = _ORIGIN.folder(root) / "ADEChallengeData2016"
    with _ORIGIN.reading(root):
        classes = _classes(folder / "objectInfo150.txt")
        images = sorted(file.name for file in (folder / "images" / part).iterdir() if file.suffix == ".jpg")
        names = [(f"images/{part}/{image}", f"annotations/{part}/{image.removesuffix('.jpg')}.png") for image in images]
        return PixelPairs(str(folder), folder, names, "masks", classes=classes, adapt=from_zero)


def _classes(file: Path) -> list[str]:
    """The last column of the table beside the images; the numbers of the classes if the table is missing."""
    if not file.is_file():
        return [str(value) for value in range(1, NUM_CLASSES + 1)]
    lines = file.read_text(encoding="utf-8").splitlines()[1:]
    names = [line.split("\t")[-1].strip() for line in lines if line.strip()]
    return names if len(set(names)) == len(names) else [f"{value} {name}" for value, name in enumerate(names, 1)]
