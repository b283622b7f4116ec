"""Oxford-IIIT Pets, 37 breeds of cats and dogs; trainval and test (Parkhi et al., 2012)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import Origin, listed
from unic.eval.datasets.base import DataPair

COUNTS = (3680, 3669, 37)
_ORIGIN = Origin(
    "pets", "oxford-iiit-pet/images/ and oxford-iiit-pet/annotations/", "https://www.robots.ox.ac.uk/~vgg/data/pets/",
    "800 MB",
)  # fmt: skip


def load(root: Path, *, download: bool = False) -> DataPair:
    from torchvision.datasets import OxfordIIITPet

    folder = _ORIGIN.folder(root)
    with _ORIGIN.reading(root, download):
        parts = [OxfordIIITPet(folder, part, download=download) for part in ("trainval", "test")]
    images = folder / "oxford-iiit-pet" / "images"
    train, test = (listed(images, part._images, part._labels, part.classes) for part in parts)
    return DataPair("pets", train, test)
