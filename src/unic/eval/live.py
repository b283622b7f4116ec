"""Images with a target for every pixel, and the encoder that reads them at any size. No feature is cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from unic.data.sources import DamagedImageError, Source
from unic.encoders.base import Encoder, Size
from unic.errors import InputError, NotApplicableError
from unic.features.extraction import evaluating
from unic.tokens import Tokens, side_by_side


@dataclass(frozen=True, eq=False)
class Live:
    """A part of a set for a task that reads random views, so that features cannot be cached.

    Attributes:
        source: images with masks or depths.
        encoder: the frozen encoder.
        name: name of the model in messages.
        blocks: indices of the blocks whose tokens are read, side by side; empty: the encoder's output.
        workers: number of processes that decode images; 0: this process.
        say: function that shows a line of progress.
    """

    source: Source
    encoder: Encoder
    name: str = ""
    blocks: Sequence[int] = ()
    workers: int = 0
    say: Callable[[str], None] = lambda _: None
    _steps: list[Size] = field(default_factory=list, init=False, repr=False)

    @property
    def classes(self) -> list[str]:
        return list(self.source.classes or [])

    @property
    def mean(self) -> list[float]:
        """The mean colour of the encoder, which its normalisation turns into 0."""
        return self.encoder.mean.flatten().tolist()

    @property
    def device(self) -> torch.device:
        return self.encoder.mean.device

    def widths(self) -> tuple[int, int]:
        """Widths of CLS and of a patch."""
        if not self.blocks:
            return self.encoder.embed_dim, self.encoder.patch_dim
        dims = [self.encoder.block_dims[block] for block in self.blocks]
        return sum(cls for cls, _ in dims), sum(patch for _, patch in dims)

    def tokens(self, images: Float[Tensor, "b 3 h w"]) -> Tokens:
        """Tokens of images at their own size.

        Images are padded on all sides by the mean colour until their sides are multiples of the patch size, as DINOv2
        does ("centre padding").

        Raises:
            NotApplicableError: the network cannot take images of this size.
        """
        with evaluating(self.encoder):
            padded = padded_to_multiple(images.to(self.device), self._patch_size(), self.mean)
            size = (padded.shape[-2], padded.shape[-1])
            if size != self.encoder.input_size and self.encoder.grid_at(size) is None:
                height, width = self.encoder.input_size
                raise NotApplicableError(
                    f"model '{self.name}' takes images of {height} × {width} pixels, not of {size[0]} × {size[1]}"
                )
            if self.blocks:
                return side_by_side(self.encoder.intermediates(padded, self.blocks, size)).float()
            return self.encoder(padded, size).float()

    def _patch_size(self) -> Size:
        if not self._steps:
            size = self.encoder.input_size
            grid = self.encoder(torch.zeros(1, 3, *size, device=self.device)).grid
            self._steps.append((-(-size[0] // grid[0]), -(-size[1] // grid[1])))
        return self._steps[0]

    def readable(self) -> Iterator[tuple[Float[Tensor, "3 h w"], np.ndarray]]:
        """Every image in [0, 1] with its target, in order, without damaged images.

        Raises:
            InputError: all images are damaged.
        """
        reason = "it has no images"
        is_empty = True
        for index in range(len(self.source)):
            self.say(f"{self.name}: {self.source.path} {index + 1}/{len(self.source)}")
            try:
                image, target = read_pair(self.source, index)
            except DamagedImageError as error:
                reason = f"{self.source.name(index)}: {error}"
                continue
            is_empty = False
            yield as_tensor(image), target
        if is_empty:
            raise InputError(f"data '{self.source.path}': no image can be read; {reason}")


def refuse_unless_live(task: str, options: Mapping[str, Any], *names: str) -> None:
    """Refuses options that a task has under its protocol alone.

    Raises:
        InputError: one of `names` is given, and no protocol.
    """
    for name in names:
        if name in options and options.get("protocol") is None:
            raise InputError(f"{task}: option '{name}' is for 'protocol: dinov2' only")


def read_pair(source: Source, index: int) -> tuple[Image.Image, np.ndarray]:
    """An image with its target. Raises `DamagedImageError`."""
    image, target = source.read(index), source.target(index)
    assert target is not None, source.path
    return image, target


def as_tensor(image: Image.Image) -> Float[Tensor, "3 h w"]:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def padded_to_multiple(
    images: Float[Tensor, "b 3 h w"], step: Size, colour: Sequence[float]
) -> Float[Tensor, "b 3 h2 w2"]:
    """Images with sides that are multiples of `step`, padded on all sides; an odd pixel goes to the right or below."""
    missing = [-side % of for side, of in zip(images.shape[-2:], step, strict=True)]
    if not any(missing):
        return images
    top, left = missing[0] // 2, missing[1] // 2
    mean = torch.tensor(list(colour), device=images.device).view(1, 3, 1, 1)
    return F.pad(images - mean, (left, missing[1] - left, top, missing[0] - top)) + mean
