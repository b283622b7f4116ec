"""A batch of views, and what is asked for to make one."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Int, UInt8
from torch import Tensor

Size = int | tuple[int, int]


@dataclass
class Batch:
    """Views of some images.

    Attributes:
        images: `(b, 3, h, w)`, cropped; `Augmentation.__call__` does the rest.
        index: `(b,)`, global index of each image in the `ImageList`.
        view: `(b,)`, the number that keys each image's view: how often its source was gone over before, or which of
            the cached views it is. With weight 1 it is the number of the epoch.
        damaged: (index, name, reason) of each image that could not be read.
    """

    images: UInt8[Tensor, "b 3 h w"]
    index: Int[Tensor, " b"]
    view: Int[Tensor, " b"]
    damaged: list[tuple[int, str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.index)

    def pin_memory(self) -> Batch:
        """The same where a GPU can fetch it from. The keys stay pageable: they are read on the CPU."""
        return Batch(self.images.pin_memory(), self.index, self.view, self.damaged)


Request = tuple[list[int], list[int], Size]  # indices and augmentation keys of one batch, size of its views
