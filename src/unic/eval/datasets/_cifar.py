"""The binary version of CIFAR, which is no pickle: records of label bytes and 32 × 32 pixels, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unic.data.sources.arrays import Arrays
from unic.errors import InputError

_SIDE = 32


def records(name: str, files: Sequence[Path], classes: Sequence[str], *, num_labels: int = 1) -> Arrays:
    """The images of some files, with their labels.

    Args:
        name: name of the set.
        files: files of records.
        classes: names of the classes.
        num_labels: number of bytes for labels before each image; the last of them is the label.

    Raises:
        InputError: a file is cut off, or a label has no class.
        OSError: a file is missing.
    """
    width = num_labels + 3 * _SIDE**2
    parts = []
    for file in files:
        data = np.fromfile(file, dtype=np.uint8)
        if len(data) == 0 or len(data) % width:
            raise InputError(f"data '{name}': {file} is cut off ({len(data)} bytes, not a multiple of {width})")
        parts.append(data.reshape(-1, width))
    table = np.concatenate(parts)
    labels = table[:, num_labels - 1]
    if labels.max() >= len(classes):
        raise InputError(f"data '{name}': label {labels.max()} in {files[0].parent}, but only {len(classes)} classes")
    images = table[:, num_labels:].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return Arrays(name, images, labels, classes)


def class_names(file: Path) -> list[str]:
    """The names in a file, one on each line; empty lines are skipped."""
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
