"""Describable textures, 47 classes; the first of its ten splits, train and val together (Cimpoi et al., 2014)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import Origin, listed
from unic.eval.datasets.base import DataPair

COUNTS = (3760, 1880, 47)
_ORIGIN = Origin("dtd", "dtd/images/ and dtd/labels/", "https://www.robots.ox.ac.uk/~vgg/data/dtd/", "600 MB")


def load(root: Path, *, download: bool = False) -> DataPair:
    from torchvision.datasets import DTD

    with _ORIGIN.reading(root, download):
        train, val, test = (DTD(root, part, download=download) for part in ("train", "val", "test"))
    images = _ORIGIN.folder(root) / "dtd" / "images"
    files, labels = train._image_files + val._image_files, train._labels + val._labels
    return DataPair(
        "dtd",
        listed(images, files, labels, train.classes),
        listed(images, test._image_files, test._labels, test.classes),
    )
