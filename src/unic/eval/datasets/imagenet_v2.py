"""ImageNet-v2, new test images of ImageNet's 1000 classes, matched frequency (Recht et al., arXiv 1902.10811)."""

from __future__ import annotations

from pathlib import Path

from unic.eval.datasets._files import Origin, class_folders
from unic.eval.datasets._imagenet import borrowed
from unic.eval.datasets.base import DataPair

COUNTS = (1_281_167, 10_000, 1000)
_ORIGIN = Origin(
    "imagenet_v2",
    "imagenetv2-matched-frequency-format-val/0/ to 999/",
    "https://huggingface.co/datasets/vaishaal/ImageNetV2 (imagenetv2-matched-frequency.tar.gz)",
)


def load(root: Path, *, download: bool = False) -> DataPair:
    train = borrowed("imagenet_v2", root)
    with _ORIGIN.reading(root):
        test = class_folders(_ORIGIN.folder(root) / "imagenetv2-matched-frequency-format-val")
        # The names of folders are indices of ILSVRC's classes, in the order of their WordNet numbers.
        test.classes = [train.classes[int(folder)] for folder in test.classes]
    return DataPair("imagenet_v2", train, test, is_shifted=True)
