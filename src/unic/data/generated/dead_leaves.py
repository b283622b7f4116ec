"""Dead leaves: shapes of power-law sizes that cover one another, in random colours and textures.

Occlusion and the scale invariance of natural images in one model (Lee, Mumford and Huang, "Occlusion models for natural
images", IJCV 2001). Networks learn from it without photographs (Baradad et al., "Learning to see by looking at noise",
NeurIPS 2021).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from unic.data.generated import spectral
from unic.data.generated._colours import colours
from unic.errors import InputError

_SHAPES = ("mixed", "circles", "polygons", "rectangles")
_TEXTURES = 3  # of an image; a leaf is cut out of one of them


def draw(
    random: np.random.Generator,
    size: int,
    *,
    leaves: int = 300,
    exponent: float = 3.0,
    shapes: str = "mixed",
    textured: float = 0.5,
) -> UInt8[np.ndarray, "s s 3"]:
    """One image.

    Args:
        random: every number is drawn from it.
        size: side in pixels.
        leaves: number of shapes, drawn one over another.
        exponent: of the density of radii, r^-exponent between 1/40 and 1/3 of the side. With 3 every scale covers the
            same area.
        shapes: `circles`, `polygons`, `rectangles` or `mixed`.
        textured: share of the leaves that have a texture instead of one colour.

    Raises:
        InputError: other shapes, or a number out of its range.
    """
    if shapes not in _SHAPES:
        raise InputError(f"dead_leaves: shapes={shapes}; expected one of {', '.join(_SHAPES)}")
    if leaves < 1 or exponent <= 1 or not 0 <= textured <= 1:
        raise InputError("dead_leaves: expected leaves >= 1, exponent > 1 and textured between 0 and 1")
    textures = [_texture(random, size) for _ in range(_TEXTURES if textured else 0)]
    image = Image.new("RGB", (size, size), colours(random, 1)[0])
    canvas = ImageDraw.Draw(image)
    radii = _radii(random.random(leaves), size / 40, size / 3, exponent)
    places = random.uniform(-0.1 * size, 1.1 * size, (leaves, 2))
    is_textured = random.random(leaves) < textured
    kinds = random.integers(1, len(_SHAPES), leaves) if shapes == "mixed" else [_SHAPES.index(shapes)] * leaves
    for radius, (x, y), kind, fill, cut in zip(
        radii.tolist(), places.tolist(), kinds, colours(random, leaves), is_textured, strict=True
    ):
        outline = _outline(random, _SHAPES[kind])
        if cut:
            side = int(2 * radius) + 2
            mask = Image.new("L", (side, side))
            _leaf(ImageDraw.Draw(mask), outline, side / 2, side / 2, radius, 255)
            left, top, number = (random.random(3) * (size - side, size - side, _TEXTURES)).astype(int).tolist()
            image.paste(
                textures[number].crop((left, top, left + side, top + side)),
                (int(x - side / 2), int(y - side / 2)),
                mask,
            )
        else:
            _leaf(canvas, outline, x, y, radius, fill)
    return np.asarray(image)


def _texture(random: np.random.Generator, size: int) -> Image.Image:
    """Noise at half the resolution, which takes a quarter of the time."""
    noise = Image.fromarray(spectral.draw(random, max(size // 2, 2)))
    return noise.resize((size, size), Image.Resampling.BILINEAR)


def _radii(uniform: np.ndarray, least: float, largest: float, exponent: float) -> np.ndarray:
    """Radii with density r^-exponent, by the inverse of its distribution."""
    power = 1 - exponent
    return (least**power + uniform * (largest**power - least**power)) ** (1 / power)


def _outline(random: np.random.Generator, kind: str) -> list[tuple[float, float]] | None:
    """Corners of a shape in the unit circle; None is the circle."""
    if kind == "circles":
        return None
    if kind == "rectangles":
        turn, half = random.uniform(0, math.pi), random.uniform(0.15, 0.75)
        angles = [turn + half, turn + math.pi - half, turn + math.pi + half, turn - half]
    else:
        angles = sorted((random.random(random.integers(3, 8)) * 2 * math.pi).tolist())
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def _leaf(
    canvas: ImageDraw.ImageDraw,
    outline: list[tuple[float, float]] | None,
    x: float,
    y: float,
    radius: float,
    fill: int | tuple[int, int, int],
) -> None:
    if outline is None:
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    else:
        canvas.polygon([(x + radius * a, y + radius * b) for a, b in outline], fill=fill)
