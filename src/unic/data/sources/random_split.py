"""A random training and test split, for a set without splits: `all.parquet?test=0.2&seed=0`."""

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

_SPLITS = (_splits.TRAIN, _splits.TEST[0])


def drawn_split(path: str, source: Source, split: str, *, share: float, seed: int) -> Selection:
    """The training or the test split of a random division.

    Args:
        path: as the user wrote it.
        source: all images.
        split: "train" or "test".
        share: share of the test images in each class, between 0 and 1.
        seed: seed of the division.

    Raises:
        InputError: another split is wanted, the source is streamed, or no test image is left.
    """
    if split not in _SPLITS:
        raise _splits.missing(path, split, _SPLITS, "")
    if source.in_pieces:
        raise InputError(
            f"data '{path}': a streamed set cannot be split at random; write {{split}} where its URLs differ by split"
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
            f"data '{path}': none of its {len(source)} images is a test image (one of each class and all copies of "
            "training images stay in the training split); set a larger share with test="
        )
    return Selection(path, source, np.flatnonzero(is_test == (split == _SPLITS[1])))


def draw(
    labels: Int[np.ndarray, " n"], contents: Int[np.ndarray, " n"], share: float, seed: int
) -> Bool[np.ndarray, " n"]:
    """Draws the test images.

    Each class gives `share` of its images, but never its last one. Rounding keeps the sum over all classes close to
    `share`, too. The draw is keyed by the seed and each image's index. Copies of a training image become training
    images.

    Args:
        labels: class index of each image; images with -1 form a class of their own.
        contents: a number for the content of each image, equal for equal images.
        share: share of the test images, between 0 and 1.
        seed: seed of the draw.

    Returns:
        True for each test image.
    """
    keys = rng.uniform(rng.stream("split"), seed, torch.arange(len(labels))).numpy()
    order = np.lexsort((keys, labels))
    _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    taken = np.diff(np.floor(np.cumsum(counts) * share + 0.5), prepend=0)
    rank = np.arange(len(labels)) - np.repeat(first, counts)
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[order] = rank < np.repeat(np.minimum(taken, counts - 1), counts)
    return is_test & ~np.isin(contents, contents[~is_test])
