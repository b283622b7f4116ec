"""ImageNet-A, images of 200 of ImageNet's classes that fooled a ResNet-50 (Hendrycks et al., arXiv 1907.07174)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import Origin
from unic.eval.datasets._imagenet import shifted
from unic.eval.datasets.base import DataPair

COUNTS = (1_281_167, 7500, 1000)
NUM_TEST_CLASSES = 200
_ORIGIN = Origin("imagenet_a", "imagenet-a/WNID/", "https://github.com/hendrycks/natural-adv-examples", "690 MB")
_ARCHIVE = ("https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar", "c3e55429088dc681f30d81f4726b6595")


def load(root: Path, *, download: bool = False) -> DataPair:
    return shifted(_ORIGIN, "imagenet-a", NUM_TEST_CLASSES, root, _ARCHIVE if download else None)
