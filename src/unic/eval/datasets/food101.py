"""Food-101, 101 dishes; the training images are uncleaned on purpose (Bossard et al., 2014)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import Origin, listed
from unic.eval.datasets.base import DataPair

COUNTS = (75_750, 25_250, 101)
_ORIGIN = Origin(
    "food101", "food-101/images/ and food-101/meta/", "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    "5 GB",
)  # fmt: skip


def load(root: Path, *, download: bool = False) -> DataPair:
    from torchvision.datasets import Food101

    folder = _ORIGIN.folder(root)
    with _ORIGIN.reading(root, download):
        parts = [Food101(folder, part, download=download) for part in ("train", "test")]
    images = folder / "food-101" / "images"
    train, test = (listed(images, part._image_files, part._labels, part.classes) for part in parts)
    return DataPair("food101", train, test)
