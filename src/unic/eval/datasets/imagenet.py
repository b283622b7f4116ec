"""ImageNet-1K, 1000 classes of ILSVRC 2012; the test part is its val (Russakovsky et al., arXiv 1409.0575)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import class_folders
from unic.eval.datasets._imagenet import ORIGIN, training
from unic.eval.datasets.base import DataPair

COUNTS = (1_281_167, 50_000, 1000)


def load(root: Path, *, download: bool = False) -> DataPair:
    folder = ORIGIN.folder(root)
    if download:
        _unpack(root)
    train = training(root)
    with ORIGIN.reading(root):
        flat = next((folder / "val").glob("*.JPEG"), None)
    if flat:
        raise ORIGIN.error(root, f"{flat} is in no class folder; remove val/ and unpack it again")
    with ORIGIN.reading(root):
        return DataPair("imagenet", train, class_folders(folder / "val"))


def _unpack(root: Path) -> None:
    """Unpacks archives into class folders, which for val needs the development kit. Existing folders stay."""
    from torchvision.datasets import ImageNet

    for part in ("train", "val"):
        if not (ORIGIN.folder(root) / part).exists():
            with ORIGIN.reading(root):
                ImageNet(ORIGIN.folder(root), part)
