"""CIFAR-100, 100 classes of things and animals, 32 px colour."""

from __future__ import annotations

from pathlib import Path

from unic.data.sources.arrays import Arrays
from unic.eval.datasets._cifar import class_names, records
from unic.eval.datasets._files import Origin
from unic.eval.datasets.base import DataPair

COUNTS = (50_000, 10_000, 100)
_ORIGIN = Origin(
    "cifar100", "cifar-100-binary/, the binary version", "https://www.cs.toronto.edu/~kriz/cifar.html", "170 MB"
)
_ARCHIVE = ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8")


def load(root: Path, *, download: bool = False) -> DataPair:
    if download and not _folder(root).exists():
        _ORIGIN.fetch(root, [_ARCHIVE])
    return DataPair("cifar100", load_train(root), _part(root, "test.bin"))


def load_train(root: Path) -> Arrays:
    return _part(root, "train.bin")


def _part(root: Path, file: str) -> Arrays:
    folder = _folder(root)
    with _ORIGIN.reading(root):
        classes = class_names(folder / "fine_label_names.txt")
        return records("cifar100", [folder / file], classes, num_labels=2)  # superclass and class


def _folder(root: Path) -> Path:
    return _ORIGIN.folder(root) / "cifar-100-binary"
