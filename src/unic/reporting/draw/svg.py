"""Pieces of inline SVG. Colours are CSS variables of the page, so charts follow dark mode and print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

MAX_POINTS = 400  # of a line; more are averaged in groups
NUM_COLOURS = 10  # `--t0` to `--t9` of style.css
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "1 5")
_HALF = 0.87
_MARKERS: tuple[tuple[tuple[float, float], ...], ...] = (
    (),  # a circle
    ((-_HALF, -_HALF), (_HALF, -_HALF), (_HALF, _HALF), (-_HALF, _HALF)),
    ((0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)),
    ((0, -1.15), (1.1, 0.8), (-1.1, 0.8)),
    ((0, 1.15), (1.1, -0.8), (-1.1, -0.8)),
    ((-1, -1), (1, 1), (1, -1), (-1, 1)),
    ((-1, -1), (1, 1), (-1, 1), (1, -1)),
)

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Series:
    """A line of a chart or a polygon of the radar.

    Attributes:
        name: name of the series in the legend and the tooltips.
        colour: a CSS variable, `--student` or `--t0` to `--t9`.
        points: (x, y), y None for a gap; in the radar x is the index of the axis.
        style: index of the dash pattern and of the marker, so that colour is not the only difference.
    """

    name: str
    colour: str
    points: Sequence[Point]
    style: int = 0

    @property
    def dash(self) -> str:
        return _DASHES[self.style % len(_DASHES)]

    @property
    def values(self) -> list[float]:
        return [y for _, y in self.points if y is not None]

    @property
    def last(self) -> str:
        return f"{self.values[-1]:.3g}" if self.values else ""

    @property
    def mark(self) -> Markup:
        """Its marker in a legend."""
        return marker(self.style, 13, 5, 3.6)


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """An element with everything escaped; `_` in attribute names stands for `-`, a trailing one is dropped."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    shown = "".join(f' {key}="{escape(value)}"' for key, value in pairs if value not in ("", None))
    return Markup(f"<{name}{shown}>{''.join(escape(child) for child in children)}</{name}>")


def marker(style: int, x: float, y: float, radius: float, *children: str, class_: str = "dot") -> Markup:
    """A small shape around (x, y), different for each of the first styles."""
    corners = _MARKERS[style % len(_MARKERS)]
    if not corners:
        return tag("circle", *children, cx=x, cy=y, r=radius, class_=class_)
    points = " ".join(f"{round(x + radius * a, 1)},{round(y + radius * b, 1)}" for a, b in corners)
    return tag("polygon", *children, points=points, class_=class_)


def palette(index: int) -> str:
    """The CSS variable of a colour; colours repeat after `NUM_COLOURS`."""
    return f"--t{index % NUM_COLOURS}"


def thinned(points: Sequence[Point], limit: int = MAX_POINTS) -> list[Point]:
    """At most `limit` points: means of groups of neighbours; a group without any value stays a gap.

    Sizes of groups differ by at most 1: a small last group would end the line with noise.
    """
    count = len(points)
    if count <= limit:
        return list(points)
    result: list[Point] = []
    for index in range(limit):
        group = points[index * count // limit : (index + 1) * count // limit]
        values = [y for _, y in group if y is not None]
        result.append((group[len(group) // 2][0], sum(values) / len(values) if values else None))
    return result


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that cover `low` to `high`, about `count` steps apart."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(multiple * step, 12) for multiple in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within `low` to `high`, at most about six; with 2 and 5 between them if they are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(1, math.ceil((last - first) / 6))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    found = [factor * 10.0**power for power in range(first, last + 1, step) for factor in factors]
    return [value for value in found if low * 0.999 <= value <= high * 1.001]


def number(value: float) -> str:
    """Few digits: `0.25`, `12k`, `2.5e-4`."""
    if 0 < abs(value) < 0.01:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g}M"
    return f"{value / 1e3:.4g}k" if abs(value) >= 1e4 else f"{value:.4g}"


def shortened(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
