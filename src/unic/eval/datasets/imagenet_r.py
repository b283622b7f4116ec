"""ImageNet-R, renditions (art, toys, patterns …) of 200 of ImageNet's classes (Hendrycks et al., arXiv 2006.16241)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import Origin
from unic.eval.datasets._imagenet import shifted
from unic.eval.datasets.base import DataPair

COUNTS = (1_281_167, 30_000, 1000)
NUM_TEST_CLASSES = 200
_ORIGIN = Origin("imagenet_r", "imagenet-r/WNID/", "https://github.com/hendrycks/imagenet-r", "2.2 GB")
_ARCHIVE = ("https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar", "a61312130a589d0ca1a8fca1f2bd3337")


def load(root: Path, *, download: bool = False) -> DataPair:
    return shifted(_ORIGIN, "imagenet-r", NUM_TEST_CLASSES, root, _ARCHIVE if download else None)
