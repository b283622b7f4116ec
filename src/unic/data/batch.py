"""A batch of views, and the request from which a worker makes one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from jaxtyping import Int, UInt8
from torch import Tensor

ViewSize = int | tuple[int, int]
"""Side of a square view in pixels, or height and width."""


class DamagedImage(NamedTuple):
    """An image that could not be read; `name`: see `Source.name`."""

    image_index: int
    name: str
    reason: str


class Request(NamedTuple):
    """The images of a batch.

    Attributes:
        indices: index of each image.
        keys: view key of each image.
        size: size of the views.
    """

    indices: list[int]
    keys: list[int]
    size: ViewSize


@dataclass
class Batch:
    """Views of some images.

    Attributes:
        images: `(b, 3, h, w)`, cropped; `Augmentation.__call__` does the rest.
        index: `(b,)`, index of each image in the `ImageList`.
        view: `(b,)`, view key of each image: the passes over its source so far, or the index of the cached view. With
            weight 1 it is the epoch, from 0.
        damaged: the images that could not be read.
    """

    images: UInt8[Tensor, "b 3 h w"]
    index: Int[Tensor, " b"]
    view: Int[Tensor, " b"]
    damaged: list[DamagedImage] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.index)

    def pin_memory(self) -> Batch:
        """The same batch with its images in pinned memory, for a GPU. `index` and `view` are only read on the CPU."""
        return Batch(self.images.pin_memory(), self.index, self.view, self.damaged)
