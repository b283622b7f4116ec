"""FGVC-Aircraft, 100 variants of aircraft; trainval and test (Maji et al., arXiv 1306.5151)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import Origin, listed
from unic.eval.datasets.base import DataPair

COUNTS = (6667, 3333, 100)
_ORIGIN = Origin(
    "aircraft", "fgvc-aircraft-2013b/data/", "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/", "2.6 GB"
)


def load(root: Path, *, download: bool = False) -> DataPair:
    from torchvision.datasets import FGVCAircraft

    folder = _ORIGIN.folder(root)
    with _ORIGIN.reading(root, download):
        parts = [FGVCAircraft(folder, part, download=download) for part in ("trainval", "test")]
    images = folder / "fgvc-aircraft-2013b" / "data" / "images"
    train, test = (listed(images, part._image_files, part._labels, part.classes) for part in parts)
    return DataPair("aircraft", train, test)
