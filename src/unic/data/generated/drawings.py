"""Drawings: a few flat shapes with outlines on a plain ground, often mirrored, as icons and clip art are made of."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageOps

from unic.data.generated._colours import Colour, colour, contrasting, gradient

_SCALE = 2  # drawn so many times as large, for smooth edges
_WHITE = (255, 255, 255)


def draw(
    random: np.random.Generator, size: int, *, max_shapes: int = 9, white: float = 0.5, mirrored: float = 0.5
) -> UInt8[np.ndarray, "s s 3"]:
    """One image.

    Args:
        random: every number is drawn from it.
        size: side in pixels.
        max_shapes: most shapes of an image; each image draws its number.
        white: share of the images with a white ground; the others have a colour or a gradient.
        mirrored: share of the images whose right half mirrors the left one.
    """
    side = _SCALE * size
    ground = _WHITE if random.random() < white else colour(random)
    is_shaded = ground != _WHITE and random.random() < 0.5
    image = gradient(random, side) if is_shaded else Image.new("RGB", (side, side), ground)
    canvas = ImageDraw.Draw(image)
    palette = [contrasting(random, ground)] + [colour(random) for _ in range(3)]
    ink = contrasting(random, palette[0]) if random.random() < 0.6 else None
    width = round(side * random.uniform(0.006, 0.03))
    centre, reach = random.normal(0.5, 0.06, 2) * side, random.uniform(0.25, 0.45) * side
    for number in range(random.integers(1, max_shapes + 1)):
        radius = reach * (1 if number == 0 else random.uniform(0.1, 0.7))  # parts of one thing, not things
        place = centre + (0 if number == 0 else random.uniform(-0.8, 0.8, 2) * reach)
        fill = palette[0] if number == 0 else palette[random.integers(len(palette))]
        _shape(random, canvas, place, radius, fill, ink, width)
    if random.random() < mirrored:
        image.paste(ImageOps.mirror(image.crop((0, 0, side // 2, side))), (side - side // 2, 0))
    return np.asarray(image.reduce(_SCALE))


def _shape(
    random: np.random.Generator,
    canvas: ImageDraw.ImageDraw,
    place: np.ndarray,
    radius: float,
    fill: Colour,
    ink: Colour | None,
    width: int,
) -> None:
    x, y = (float(coordinate) for coordinate in place)
    half_width, half_height = radius * random.uniform(0.4, 1), radius * random.uniform(0.4, 1)
    box = (x - half_width, y - half_height, x + half_width, y + half_height)
    kind = random.integers(5)
    if kind == 0:
        canvas.ellipse(box, fill=fill, outline=ink, width=width)
    elif kind == 1:
        canvas.rounded_rectangle(box, radius * random.uniform(0, 0.4), fill=fill, outline=ink, width=width)
    elif kind == 2:
        start = random.uniform(0, 360)
        canvas.pieslice(box, start, start + random.uniform(60, 300), fill=fill, outline=ink, width=width)
    else:
        points = _star(random, radius) if kind == 3 else _blob(random, radius)
        corners = [(x + a, y + b) for a, b in points]
        canvas.polygon(corners, fill=fill)
        if ink is not None:
            canvas.line([*corners, corners[0]], fill=ink, width=width, joint="curve")


def _star(random: np.random.Generator, radius: float) -> np.ndarray:
    """Corners of a regular polygon, or of a star."""
    count, depth = random.integers(3, 9), random.uniform(0.35, 0.8)
    is_star = random.random() < 0.5
    angles = random.uniform(0, 2 * np.pi) + np.arange(count * (2 if is_star else 1)) * 2 * np.pi / (
        count * (2 if is_star else 1)
    )
    lengths = radius * np.where(np.arange(len(angles)) % 2 == 1, depth, 1.0) if is_star else radius
    return np.stack([np.cos(angles) * lengths, np.sin(angles) * lengths], axis=1)


def _blob(random: np.random.Generator, radius: float) -> np.ndarray:
    """A closed smooth curve: a circle whose radius is a sum of a few waves."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = sum(
        random.uniform(-0.3, 0.3) / count * np.cos(count * angles + random.uniform(0, 2 * np.pi))
        for count in (1, 2, 3, 4, 5)
    )
    lengths = radius * 0.8 * (1 + waves)
    return np.stack([np.cos(angles) * lengths, np.sin(angles) * lengths], axis=1)
