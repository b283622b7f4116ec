"""The augmented view of an image: a function of (seed, view, index) and of nothing else.

The crop runs in the worker that decodes the image, because it gives all images one size; the rest runs on the device,
on a whole batch. Each image draws its own parameters from `unic.rng`. So a view does not depend on its batch, on
workers or processes, or on a resume.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from unic import rng
from unic.data._operations import blur, brightness, contrast, grey, hue, saturation, solarize
from unic.data.decode import Box
from unic.errors import InputError, nearest

_TRIES = 10  # of a random crop, as in torchvision's RandomResizedCrop
_FEW = 4  # images changed at a time on a CPU, see `Augmentation.__call__`
_CROP = rng.stream("crop")

# Columns of the random numbers of one image. `_ORDER` and `_FACTORS` take four each, one for each colour operation.
_FLIP, _JITTER, _ORDER, _FACTORS, _GRAYSCALE, _BLUR, _SIGMA, _SOLARIZE, _NUM_DRAWS = 0, 1, 2, 6, 10, 11, 12, 13, 14


@dataclass(frozen=True)
class Augmentation:
    """The operations that make a view of an image, and their probabilities (per image).

    The class and its fields are part of the feature cache's keys, by their `repr`.

    Attributes:
        scale: range of the crop's share of the image's area; None: no random crop but the centre square.
        whole: without `scale`, squeeze the whole image into the view instead of taking the centre square.
        ratio: range of the crop's width divided by its height.
        flip: probability of a horizontal flip.
        jitter: probability of colour jitter.
        strength: strength of the jitter's brightness, contrast, saturation and hue; 0.4 means a factor in [0.6, 1.4].
        grayscale: probability of a grey view.
        blur: probability of a Gaussian blur with a kernel of 9.
        sigma: range of the blur's standard deviation, in pixels.
        solarize: probability of inverting the values above 0.5.
    """

    scale: tuple[float, float] | None = None
    whole: bool = False
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0
    jitter: float = 0.0
    strength: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    grayscale: float = 0.0
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 5.0)
    solarize: float = 0.0

    @property
    def is_random(self) -> bool:
        return self not in (Augmentation(), Augmentation(whole=True))

    def plain(self) -> Augmentation:
        """The same crop and flip without changes of colour, blur and solarisation. Draws stay the same."""
        return replace(self, jitter=0.0, strength=(0.0, 0.0, 0.0, 0.0), grayscale=0.0, blur=0.0, solarize=0.0)

    def crop(
        self, image: Image.Image, seed: int, view: int, index: int, size: int | tuple[int, int]
    ) -> UInt8[Tensor, "3 h w"]:
        """The crop of an image (random, centre square or whole), resized bicubically with anti-aliasing.

        Args:
            image: RGB, upright, of any size.
            seed: seed of the run; first key of the random numbers.
            view: index of the view; second key.
            index: index of the image; third key.
            size: side of the view in pixels, or its height and width.
        """
        height, width = (size, size) if isinstance(size, int) else size
        if self.whole:
            box = (0, 0, *image.size)
        elif self.scale is None:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            box = (left, top, left + side, top + side)
        else:
            box = self.box(image.width, image.height, seed, view, index)
        if self.is_random:
            return resized(image, box, (height, width))
        # Evaluation views are resized by Pillow, as in published evaluations.
        return _pixels(image.crop(box).resize((width, height), Image.Resampling.BICUBIC))

    def box(self, width: int, height: int, seed: int, view: int, index: int) -> Box:
        """Left, top, right, bottom of a random crop (Szegedy et al., 2014, as in torchvision's RandomResizedCrop).

        Args:
            width: width of the image, in pixels.
            height: height of the image, in pixels.
            seed: seed of the run; first key of the random numbers.
            view: index of the view; second key.
            index: index of the image; third key.
        """
        assert self.scale is not None
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for first in range(0, 4 * _TRIES, 4):
            area, shape, x, y = (rng.number(seed, _CROP, view, index, first + place) for place in range(4))
            area = width * height * (self.scale[0] + (self.scale[1] - self.scale[0]) * area)
            aspect = math.exp(low + (high - low) * shape)
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
                return left, top, left + w, top + h
        # A very long image gets the largest centred box of an allowed shape.
        w = min(width, round(height * self.ratio[1]))
        h = min(height, round(width / self.ratio[0]))
        left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h

    def __call__(
        self, images: UInt8[Tensor, "b 3 h w"], seed: int, view: Int[Tensor, " b"], index: Int[Tensor, " b"]
    ) -> Float[Tensor, "b 3 h w"]:
        """Applies all operations after the crop: flip, colour jitter, grayscale, blur, solarise.

        Args:
            images: crops, on any device.
            seed: seed of the run; first key of the random numbers.
            view: index of each image's view, **on the CPU**; second key. The CPU chooses which images an operation
                changes, so nothing waits for the device.
            index: index of each image, on the CPU; third key.

        Returns:
            Images in [0, 1] on the device of `images`.
        """
        if not self.is_random:
            return images / 255
        keys = view.cpu()[:, None], index.cpu()[:, None]
        u = rng.uniform(seed, rng.stream("augment"), *keys, torch.arange(_NUM_DRAWS))
        views = torch.empty(images.shape, dtype=torch.float32, device=images.device)
        # A CPU changes a few images at a time, so that results between operations stay in its cache.
        few = _FEW if images.device.type == "cpu" else max(1, len(images))
        for part, crops, draws in zip(views.split(few), images.split(few), u.split(few), strict=True):
            self._change(torch.div(crops, 255, out=part), draws)
        return views

    def _change(self, x: Float[Tensor, "b 3 h w"], u: Float[Tensor, "b n"]) -> None:
        """Changes `x` in place."""

        def rows(column: int, probability: float) -> Tensor:
            return torch.nonzero(u[:, column] < probability).flatten()

        _on(x, rows(_FLIP, self.flip), lambda part: part.flip(-1))
        self._jitter(x, u, rows(_JITTER, self.jitter))
        _on(x, rows(_GRAYSCALE, self.grayscale), lambda part: grey(part).expand_as(part))
        blurred = rows(_BLUR, self.blur)
        sigma = self.sigma[0] + (self.sigma[1] - self.sigma[0]) * u[blurred, _SIGMA]
        _on(x, blurred, lambda part: blur(part, sigma.to(part.device, non_blocking=True)))
        _on(x, rows(_SOLARIZE, self.solarize), solarize)

    def _jitter(self, x: Float[Tensor, "b 3 h w"], u: Float[Tensor, "b n"], rows: Int[Tensor, " m"]) -> None:
        """The four colour operations on the images `rows`, each image in its own random order."""
        order = u[:, _ORDER : _ORDER + 4].argsort(dim=1, stable=True)
        spread = torch.tensor(self.strength)
        centred = (2 * u[:, _FACTORS : _FACTORS + 4] - 1) * spread
        factors = centred + torch.tensor([1.0, 1.0, 1.0, 0.0])  # hue is an offset, the others are factors
        factors[:, :3].clamp_(min=0)
        on_device = factors.to(x.device, non_blocking=True)
        for place in range(4):
            for operation, adjust in enumerate((brightness, contrast, saturation, hue)):
                here = rows[order[rows, place] == operation]
                if self.strength[operation] > 0 and len(here):
                    there = here.to(x.device, non_blocking=True)
                    factor = on_device[there, operation].view(-1, 1, 1, 1)
                    x.index_copy_(0, there, adjust(x.index_select(0, there), factor))


@dataclass(frozen=True)
class CentreCrop(Augmentation):
    """The view of published evaluations, to the pixel: `Resize` and `CenterCrop` of torchvision, both by Pillow.

    It differs from the centre square at the edge and by rounding: here the whole image is resized, then cut.

    Attributes:
        short_side: length of the resized image's short side, for a view of side 1.
    """

    short_side: float = 1.0

    @property
    def is_random(self) -> bool:
        return False

    def crop(
        self, image: Image.Image, seed: int, view: int, index: int, size: int | tuple[int, int]
    ) -> UInt8[Tensor, "3 h w"]:
        """The centre of the resized image. Of a view that is not square, the resized image just covers `size`, times
        `short_side`. Arguments are those of `Augmentation.crop`."""
        height, width = (size, size) if isinstance(size, int) else size
        rows, columns = round(height * self.short_side), round(width * self.short_side)
        if rows * image.width >= columns * image.height:
            columns = rows * image.width // image.height
        else:
            rows = columns * image.height // image.width
        left, top = round((columns - width) / 2), round((rows - height) / 2)
        whole = image.resize((columns, rows), Image.Resampling.BICUBIC)
        return _pixels(whole.crop((left, top, left + width, top + height)))


def _pixels(image: Image.Image) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def resized(image: Image.Image, box: Box, size: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
    """The part `box` of an image, resized bicubically with anti-aliasing, as torchvision does with uint8 tensors.

    This takes a quarter of Pillow's time and differs from its result by rounding. The filter uses no pixel outside of
    the box.

    Args:
        image: RGB.
        box: left, top, right, bottom.
        size: height and width of the result.
    """
    pixels = torch.from_numpy(np.array(image.crop(box))).permute(2, 0, 1)
    return F.interpolate(pixels[None], size, mode="bicubic", antialias=True)[0].contiguous()


PRESETS = {
    "none": Augmentation(),
    "whole": Augmentation(whole=True),
    "centre_crop": CentreCrop(),
    "centre_crop_256": CentreCrop(short_side=256 / 224),
    # The augmentation of the paper (METHOD.md §6; Sariyildiz et al., 2024).
    "unic": Augmentation(
        scale=(0.08, 1.0), flip=0.5, jitter=0.8, strength=(0.4, 0.4, 0.2, 0.1), grayscale=0.2, blur=0.2, solarize=0.2
    ),
    # For letters, icons and drawings: a mirrored letter is another letter, and a twelfth of an icon is nothing.
    "light": Augmentation(scale=(0.5, 1.0), jitter=0.5, strength=(0.2, 0.2, 0.1, 0.02)),
}


def preset(name: str) -> Augmentation:
    """The augmentation of a name. Raises `InputError` for an unknown name."""
    if name not in PRESETS:
        raise InputError(f"unknown augmentation '{name}'{nearest(name, PRESETS)}")
    return PRESETS[name]


def _on(x: Tensor, rows: Tensor, operation: Callable[[Tensor], Tensor]) -> None:
    """Applies `operation` to some images of the batch. `rows` is on the CPU, so nothing waits for the device."""
    if len(rows):
        rows = rows.to(x.device, non_blocking=True)
        x.index_copy_(0, rows, operation(x.index_select(0, rows)))
