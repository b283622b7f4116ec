"""CIFAR-10, 10 classes of things and animals, 32 px colour."""

from __future__ import annotations

from pathlib import Path

from unic.data.sources.arrays import Arrays
from unic.eval.datasets._cifar import class_names, records
from unic.eval.datasets._files import Origin
from unic.eval.datasets.base import DataPair

COUNTS = (50_000, 10_000, 10)
_ORIGIN = Origin(
    "cifar10", "cifar-10-batches-bin/, the binary version", "https://www.cs.toronto.edu/~kriz/cifar.html", "170 MB"
)
_ARCHIVE = ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")


def load(root: Path, *, download: bool = False) -> DataPair:
    if download and not _folder(root).exists():
        _ORIGIN.fetch(root, [_ARCHIVE])
    return DataPair("cifar10", load_train(root), _part(root, ["test_batch.bin"]))


def load_train(root: Path) -> Arrays:
    return _part(root, [f"data_batch_{batch}.bin" for batch in range(1, 6)])


def _part(root: Path, files: list[str]) -> Arrays:
    folder = _folder(root)
    with _ORIGIN.reading(root):
        return records("cifar10", [folder / file for file in files], class_names(folder / "batches.meta.txt"))


def _folder(root: Path) -> Path:
    return _ORIGIN.folder(root) / "cifar-10-batches-bin"
