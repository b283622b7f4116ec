"""A training and a test part drawn at random, for a set that comes without: `all.parquet?test=0.2&seed=0`."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int

from unic import rng
from unic.data.sources import _splits
from unic.data.sources.base import Source
from unic.data.sources.contents import content_numbers
from unic.data.sources.selection import Selection
from unic.errors import InputError

_PARTS = (_splits.TRAIN, _splits.TEST[0])


def drawn_part(path: str, source: Source, split: str, *, share: float, seed: int) -> Selection:
    """The training or the test part of a fixed random split.

    Args:
        path: as the user wrote it.
        source: all images.
        split: "train" or "test".
        share: of the images that are test images, in each class, between 0 and 1.
        seed: of the draw.

    Raises:
        InputError: another split, or a part without images.
    """
    if split not in _PARTS:
        raise _splits.missing(path, split, _PARTS, "")
    if source.in_pieces:
        raise InputError(
            f"data '{path}': a set that stays elsewhere cannot be split at random; name its parts {{split}}"
        )
    labels = [source.label(index) for index in range(len(source))]
    is_test = draw(
        np.array([-1 if label is None else label for label in labels], dtype=np.int64),
        content_numbers(source)[0],
        share,
        seed,
    )
    if not is_test.any():
        raise InputError(
            f"data '{path}': no test image is left of {len(source)} (the first image of a class and copies of training "
            "images stay in the training part)"
        )
    return Selection(path, source, np.flatnonzero(is_test == (split == _PARTS[1])))


def draw(
    labels: Int[np.ndarray, " n"], contents: Int[np.ndarray, " n"], share: float, seed: int
) -> Bool[np.ndarray, " n"]:
    """Which images are test images.

    A class gives `share` of its images, rounded so that the sum over the classes fits too, but never its last one. The
    draw is keyed by the seed and the number of each image. Copies of a training image are training images.

    Args:
        labels: class of each image; images without one are a class of their own.
        contents: equal numbers for equal images.
        share: of test images, between 0 and 1.
        seed: of the draw.
    """
    keys = rng.uniform(rng.stream("split"), seed, torch.arange(len(labels))).numpy()
    order = np.lexsort((keys, labels))
    _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    taken = np.diff(np.floor(np.cumsum(counts) * share + 0.5), prepend=0)
    rank = np.arange(len(labels)) - np.repeat(first, counts)
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[order] = rank < np.repeat(np.minimum(taken, counts - 1), counts)
    return is_test & ~np.isin(contents, contents[~is_test])
