"""CIFAR-100, 100 classes of things and animals, 32 px colour."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._cifar import class_names, records
from unic.eval.datasets._files import Origin
from unic.eval.datasets.base import DataPair

COUNTS = (50_000, 10_000, 100)
_ORIGIN = Origin(
    "cifar100", "cifar-100-binary/, the binary version", "https://www.cs.toronto.edu/~kriz/cifar.html", "170 MB"
)
_ARCHIVE = ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8")


def load(root: Path, *, download: bool = False) -> DataPair:
    folder = _ORIGIN.folder(root) / "cifar-100-binary"
    if download and not folder.exists():
        _ORIGIN.fetch(root, [_ARCHIVE])
    with _ORIGIN.reading(root):
        classes = class_names(folder / "fine_label_names.txt")
        # Two labels each: the superclass, then the class.
        train, test = (
            records("cifar100", [folder / f"{part}.bin"], classes, num_labels=2) for part in ("train", "test")
        )
    return DataPair("cifar100", train, test)
