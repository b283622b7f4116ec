"""No test image may be a training image: a model that has its answer in the bank is measured on its memory."""

from __future__ import annotations

import numpy as np

from unic.data.sources.contents import content_numbers
from unic.errors import InputError
from unic.eval.datasets.base import DataPair


def refuse_overlap(pair: DataPair, remedy: str) -> None:
    """Compares the stored bytes of all training and test images, whatever the files are called.

    Args:
        pair: the set, limited to what is measured.
        remedy: what makes it measure all the same, the end of the message.

    Raises:
        InputError: an image is in both parts.
    """
    for part in (pair, *pair.parts.values()):
        train, test = content_numbers(part.train, part.test)
        shared = np.flatnonzero(np.isin(test, train))
        if len(shared):
            first = int(shared[0])
            twin = int(np.flatnonzero(train == test[first])[0])
            count = "all" if len(shared) == len(test) else f"{len(shared)} of"
            raise InputError(
                f"data '{part.name}': {count} {len(test)} test images are training images too, the first is "
                f"{part.test.name(first)} ({part.train.name(twin)} in training); take them out of one part, or {remedy}"
            )
