"""A batch of views, and the request from which a worker makes one."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Int, UInt8
from torch import Tensor

ViewSize = int | tuple[int, int]
"""Side of a square view in pixels, or height and width."""


@dataclass
class Batch:
    """Views of some images.

    Attributes:
        images: `(b, 3, h, w)`, cropped; `Augmentation.__call__` does the rest.
        index: `(b,)`, index of each image in the `ImageList`.
        view: `(b,)`, view key of each image: the passes over its source so far, or the index of the cached view. With
            weight 1 it is the epoch, from 0.
        damaged: (index, name, reason) of each image that could not be read.
    """

    images: UInt8[Tensor, "b 3 h w"]
    index: Int[Tensor, " b"]
    view: Int[Tensor, " b"]
    damaged: list[tuple[int, str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.index)

    def pin_memory(self) -> Batch:
        """The same batch with its images in pinned memory, for a GPU. `index` and `view` are only read on the CPU."""
        return Batch(self.images.pin_memory(), self.index, self.view, self.damaged)


Request = tuple[list[int], list[int], ViewSize]
"""Indices and view keys of the images of a batch, and the size of its views."""
