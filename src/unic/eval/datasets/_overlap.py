"""A check that no test image is a training image, as a score on such an image shows memory only."""

from __future__ import annotations

import numpy as np

from unic.data.sources.contents import content_numbers
from unic.errors import InputError
from unic.eval.datasets.base import DataPair


def refuse_overlap(pair: DataPair, remedy: str) -> None:
    """Compares the stored bytes of all training and test images; names of files do not count.

    Args:
        pair: the set, limited to the images that are measured.
        remedy: end of the error line: how to allow the overlap.

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
                f"{part.test.name(first)} ({part.train.name(twin)} in training); remove them from one part, or {remedy}"
            )
