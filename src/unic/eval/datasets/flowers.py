"""Oxford Flowers, 102 classes; train and val together, and test (Nilsback and Zisserman, 2008)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import Origin, listed
from unic.eval.datasets.base import DataPair

COUNTS = (2040, 6149, 102)
_ORIGIN = Origin(
    "flowers",
    "flowers-102/ with jpg/, imagelabels.mat and setid.mat",
    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    "350 MB",
)


def load(root: Path, *, download: bool = False) -> DataPair:
    from torchvision.datasets import Flowers102

    folder = _ORIGIN.folder(root)
    with _ORIGIN.reading(root, download):
        train, val, test = (Flowers102(folder, part, download=download) for part in ("train", "val", "test"))
    images = folder / "flowers-102" / "jpg"
    classes = list(getattr(test, "classes", map(str, range(1, 103))))  # names since torchvision 0.22
    files, labels = train._image_files + val._image_files, train._labels + val._labels
    return DataPair(
        "flowers", listed(images, files, labels, classes), listed(images, test._image_files, test._labels, classes)
    )
