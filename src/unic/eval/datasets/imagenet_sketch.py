"""ImageNet-Sketch, black and white drawings of ImageNet's 1000 classes (Wang et al., arXiv 1905.13549)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import Origin
from unic.eval.datasets._imagenet import shifted
from unic.eval.datasets.base import DataPair

COUNTS = (1_281_167, 50_889, 1000)
NUM_TEST_CLASSES = 1000
_ORIGIN = Origin("imagenet_sketch", "sketch/WNID/", "https://github.com/HaohanWang/ImageNet-Sketch")


def load(root: Path, *, download: bool = False) -> DataPair:
    return shifted(_ORIGIN, "sketch", NUM_TEST_CLASSES, root)
