"""Colours and gradients that several families share."""

from __future__ import annotations

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]


def colours(random: np.random.Generator, count: int) -> list[Colour]:
    """Colours uniform in hue, and mostly neither black nor white: drawings and photographs have few of these."""
    hue, saturation, value = random.random(count), random.beta(1.2, 1.2, count), random.beta(2.0, 1.3, count)
    place = (np.array([5, 3, 1]) + 6 * hue[:, None]) % 6  # from HSV, for red, green and blue
    channels = value[:, None] * (1 - saturation[:, None] * np.clip(np.minimum(place, 4 - place), 0, 1))
    return [(red, green, blue) for red, green, blue in np.rint(255 * channels).astype(int).tolist()]


def colour(random: np.random.Generator) -> Colour:
    """One of `colours`."""
    return colours(random, 1)[0]


def contrasting(random: np.random.Generator, other: Colour, least: float = 60.0) -> Colour:
    """A colour whose luminance differs from that of `other` by at least `least` of 255."""
    for found in colours(random, 16):
        if abs(luminance(found) - luminance(other)) >= least:
            return found
    return (0, 0, 0) if luminance(other) > 127 else (255, 255, 255)


def luminance(value: Colour) -> float:
    """Luma of ITU-R BT.601, 0 to 255."""
    return 0.299 * value[0] + 0.587 * value[1] + 0.114 * value[2]


def gradient(random: np.random.Generator, size: int) -> Image.Image:
    """A square that goes from one colour to another in a random direction, as light on a surface does."""
    first, last = np.array(colour(random)), np.array(colour(random))
    angle = random.uniform(0, 2 * np.pi)
    across = np.linspace(-0.5, 0.5, 16)
    position = np.clip(0.5 + np.cos(angle) * across[None, :] + np.sin(angle) * across[:, None], 0, 1)
    pixels = first + position[..., None] * (last - first)
    return Image.fromarray(pixels.astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
