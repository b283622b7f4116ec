"""Strokes: lines, arcs and hooks of one pen on a plain ground, as the signs of scripts are made of."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from unic.data.generated._colours import colour, contrasting

_SCALE = 2  # drawn so many times as large, for smooth edges
_ALONG = np.linspace(0, 1, 24)[:, None]


def draw(
    random: np.random.Generator, size: int, *, max_strokes: int = 7, plain: float = 0.6
) -> UInt8[np.ndarray, "s s 3"]:
    """One image of one sign.

    Args:
        random: every number is drawn from it.
        size: side in pixels.
        max_strokes: most strokes of a sign; each image draws its number.
        plain: share of the images in black on white or white on black; the others are in two colours.
    """
    side = _SCALE * size
    ground = colour(random)
    ink = contrasting(random, ground, least=90)
    if random.random() < plain:
        ground, ink = ((255, 255, 255), (0, 0, 0)) if random.random() < 0.7 else ((0, 0, 0), (255, 255, 255))
    image = Image.new("RGB", (side, side), ground)
    canvas = ImageDraw.Draw(image)
    anchors = random.random((random.integers(3, 7), 2))  # strokes meet in these, as those of a letter do
    lines = [_stroke(random, anchors) for _ in range(random.integers(1, max_strokes + 1))]
    slant = np.array([[1.0, 0.0], [random.normal(0, 0.12), 1.0]])
    points = np.concatenate(lines) @ slant
    least, extent = points.min(0), np.ptp(points, axis=0)
    width = side * random.uniform(0.03, 0.14)
    room = side * random.uniform(0.55, 0.85, 2) - width  # a sign fills most of its image
    points = (points - least - extent / 2) * np.minimum(room / np.maximum(extent, 0.05), 1.5 * room.max()) + side / 2
    points += random.normal(0, 0.03, 2) * side
    widths = width * random.uniform(0.75, 1.1, len(lines))
    for line, thickness in zip(np.split(points, len(lines)), widths.tolist(), strict=True):
        corners = [(x, y) for x, y in line.tolist()]
        canvas.line(corners, fill=ink, width=max(1, round(thickness)))
        for x, y in corners:  # round joints and ends: those that the library draws leave gaps in tight bends
            canvas.ellipse((x - thickness / 2, y - thickness / 2, x + thickness / 2, y + thickness / 2), fill=ink)
    return np.asarray(image.reduce(_SCALE))


def _stroke(random: np.random.Generator, anchors: np.ndarray) -> np.ndarray:
    """Points of one stroke in the unit square: straight (often upright or level), bent, round, or a dot."""
    first, last = anchors[random.choice(len(anchors), 2, replace=False)]
    kind = random.random()
    if kind < 0.2:  # upright or level
        return first + _ALONG * (last - first) * ((1, 0) if random.random() < 0.5 else (0, 1))
    if kind < 0.45:
        return first + _ALONG * (last - first)
    if kind < 0.8:  # a cubic Bézier curve
        inner = anchors[random.choice(len(anchors), 2)] + random.normal(0, 0.25, (2, 2))
        rest = 1 - _ALONG
        return rest**3 * first + 3 * rest**2 * _ALONG * inner[0] + 3 * rest * _ALONG**2 * inner[1] + _ALONG**3 * last
    if kind < 0.95:
        angles = random.uniform(0, 2 * np.pi) + _ALONG[:, 0] * random.uniform(np.pi / 2, 2 * np.pi)
        radii = random.uniform(0.12, 0.45, 2)
        return first + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii
    return first + _ALONG * 0.02
