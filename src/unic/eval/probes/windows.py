"""Sliding windows over an image: predictions of all windows, averaged where they overlap."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Predict = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b k h w"]]
"""Maps of a batch of windows, of the windows' own size."""


def starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along one axis: a stride apart, and the last one ends with the image."""
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def averaged(image: Float[Tensor, "3 h w"], predict: Predict, *, window: int, stride: int) -> Float[Tensor, "k h w"]:
    """Maps of an image: the mean over all square windows that cover a pixel.

    Args:
        image: an image of any size; along a side that is shorter than `window` there is one window, of this side.
        predict: function of a batch with all windows.
        window: side of a window in pixels.
        stride: pixels between two windows.
    """
    height, width = image.shape[1:]
    places = [(top, left) for top in starts(height, window, stride) for left in starts(width, window, stride)]
    spans = [(slice(top, top + window), slice(left, left + window)) for top, left in places]
    maps = predict(torch.stack([image[:, rows, columns] for rows, columns in spans]))
    total, count = maps.new_zeros(maps.shape[1], height, width), maps.new_zeros(height, width)
    for (rows, columns), found in zip(spans, maps, strict=True):
        total[:, rows, columns] += found
        count[rows, columns] += 1
    return total / count
