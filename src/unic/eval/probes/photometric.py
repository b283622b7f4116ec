"""Random colours of the dense protocols: the photometric distortion of SSD, and the colours of BTS.

Photometric distortion (Liu et al., arXiv 1512.02325) changes brightness, contrast, saturation and hue, each with
probability ½, by amounts that are usual for ADE20K: ±32 of 255, factors 0.5 … 1.5 twice, ±18 of 180 steps of the hue.
Contrast, a plain factor, comes second or last. BTS (arXiv 1907.10326) changes gamma, brightness and the colours.
Values stay floats, where published code rounds to 8 bits between the changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unic.data._operations import hue

_BRIGHTNESS = 32 / 255
_FACTORS = (0.5, 1.5)
_HUE = 18  # of 180 steps, in whole steps
_GAMMA, _BRIGHTNESS_FACTORS, _COLOURS = (0.9, 1.1), (0.75, 1.25), (0.9, 1.1)
_RANGE = 255  # of the values whose power is taken: a gamma below 1 also darkens


@dataclass(frozen=True)
class Distortion:
    """Changes of one image; values are neutral where a change is not drawn.

    Attributes:
        brightness: added to every value.
        contrast: factor of every value.
        is_contrast_last: whether contrast comes after the hue and not before the saturation.
        saturation: factor of the saturation in HSV.
        hue: added to the hue, as a part of the colour circle.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    is_contrast_last: bool = False
    saturation: float = 1.0
    hue: float = 0.0


def draw_distortion(rng: np.random.Generator) -> Distortion:
    is_drawn = rng.random(4) < 0.5
    amounts = (
        rng.uniform(-_BRIGHTNESS, _BRIGHTNESS),
        rng.uniform(*_FACTORS),
        rng.uniform(*_FACTORS),
        int(rng.integers(-_HUE, _HUE)) / 180,
    )
    brightness, contrast, saturation, turn = (
        float(amount) if drawn else neutral
        for amount, drawn, neutral in zip(amounts, is_drawn, (0.0, 1.0, 1.0, 0.0), strict=True)
    )
    return Distortion(brightness, contrast, bool(rng.random() < 0.5), saturation, turn)


def distort(image: Float[Tensor, "3 h w"], by: Distortion) -> Float[Tensor, "3 h w"]:
    """The image in [0, 1] after a distortion; values are clipped after each change."""
    image = (image + by.brightness).clamp(0, 1)
    if not by.is_contrast_last:
        image = (image * by.contrast).clamp(0, 1)
    image = _saturated(image, by.saturation)
    if by.hue:
        image = hue(image[None], torch.full((1, 1, 1, 1), by.hue))[0]
    return (image * by.contrast).clamp(0, 1) if by.is_contrast_last else image


def _saturated(image: Float[Tensor, "3 h w"], factor: float) -> Float[Tensor, "3 h w"]:
    """S becomes min(factor · S, 1) in HSV. With S = (V − min) / V, each channel moves towards or away from V."""
    if factor == 1:
        return image
    value = image.amax(0)
    chroma = value - image.amin(0)
    scale = torch.where(chroma > 0, value / chroma.clamp(min=1e-12), 1).clamp(max=factor)
    return value - (value - image) * scale


@dataclass(frozen=True)
class Colours:
    """`image^gamma · brightness · colours` for one image whose values are 0 … 255."""

    gamma: float
    brightness: float
    colours: tuple[float, float, float]


def draw_colours(rng: np.random.Generator) -> Colours | None:
    """None with probability ½."""
    if rng.random() >= 0.5:
        return None
    red, green, blue = rng.uniform(*_COLOURS, size=3).tolist()
    return Colours(float(rng.uniform(*_GAMMA)), float(rng.uniform(*_BRIGHTNESS_FACTORS)), (red, green, blue))


def coloured(image: Float[Tensor, "3 h w"], by: Colours) -> Float[Tensor, "3 h w"]:
    factors = torch.tensor(by.colours).view(3, 1, 1) * by.brightness
    return ((image * _RANGE) ** by.gamma * factors / _RANGE).clamp(0, 1)
