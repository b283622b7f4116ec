"""Cars196, 196 models of cars (Krause et al., 2013)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import Origin, listed
from unic.eval.datasets.base import DataPair

COUNTS = (8144, 8041, 196)
_ORIGIN = Origin(
    "cars",
    "stanford_cars/ with cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat",
    "one of the copies in https://github.com/pytorch/vision/issues/7545 (the publisher has removed it)",
)


def load(root: Path, *, download: bool = False) -> DataPair:
    from torchvision.datasets import StanfordCars

    folder = _ORIGIN.folder(root)
    with _ORIGIN.reading(root):
        parts = [StanfordCars(folder, part) for part in ("train", "test")]
    images = folder / "stanford_cars"
    train, test = (
        listed(images, [file for file, _ in part._samples], [int(label) for _, label in part._samples], part.classes)
        for part in parts
    )
    return DataPair("cars", train, test)
