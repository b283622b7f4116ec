"""Pascal VOC 2012 segmentation, 20 classes and background; the official train and val (Everingham et al., 2015)."""

from __future__ import annotations

import os
from pathlib import Path

from unic.data.sources.dense import PixelPairs
from unic.eval.datasets._files import Origin
from unic.eval.datasets.base import DataPair

COUNTS = (1464, 1449, 21)
CLASSES = [
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
]  # fmt: skip
_ORIGIN = Origin(
    "voc", "VOCdevkit/VOC2012/", "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar", "2 GB"
)


def load(root: Path, *, download: bool = False) -> DataPair:
    return DataPair("voc", _part(root, "train", download), _part(root, "val"))


def load_train(root: Path) -> PixelPairs:
    return _part(root, "train")


def _part(root: Path, part: str, download: bool = False) -> PixelPairs:
    from torchvision.datasets import VOCSegmentation

    folder = _ORIGIN.folder(root)
    with _ORIGIN.reading(root, download):
        found = VOCSegmentation(folder, "2012", part, download=download)
    images, masks = ([os.path.relpath(file, folder) for file in files] for files in (found.images, found.masks))
    return PixelPairs(str(folder), folder, list(zip(images, masks, strict=True)), "masks", classes=CLASSES)
