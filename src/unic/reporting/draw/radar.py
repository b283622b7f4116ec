"""The radar: relative gains on many axes as closed shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from unic.reporting.draw.svg import Series, marker, shortened, tag, ticks

_LOWEST = -40.0  # % at the centre of the radar, unless a shape of the student is lower
_LABEL = 14  # letters of a line
_CROWDED = 14  # number of axes from which on labels have one line, along their axis
_RADIUS = 146.0
_CENTRE = (230.0, 190.0)


def radar_floor(own: Sequence[Series], others: Sequence[Series]) -> float:
    """The gain at the centre: own shapes are shown whole, others down to `_LOWEST`."""
    values = [value for shape in (*own, *others) for value in shape.values]
    lowest = max(min(values, default=0.0), _LOWEST)
    return min(10 * math.floor(min([lowest, *(value for shape in own for value in shape.values)]) / 10), -10)


def radar(axes: Sequence[str], own: Sequence[Series], others: Sequence[Series] = ()) -> Markup:
    """Gains over the best teacher of each axis, in %; the heavy circle is 0.

    Args:
        axes: names, "set/task" or anything else; at least three.
        own, others: one value for each axis, None where it was not measured. Own shapes are filled and shown whole.
    """
    floor = radar_floor(own, others)
    peak = max([5.0, *(5 * math.ceil(value / 5) for shape in own for value in shape.values)])
    radius, (left, top, width, height) = _frame(axes)

    def place(axis: float, value: float) -> tuple[float, float]:
        reach = radius * (min(max(value, floor), peak) - floor) / (peak - floor)
        angle = 2 * math.pi * axis / len(axes) - math.pi / 2
        return round(_CENTRE[0] + reach * math.cos(angle), 1), round(_CENTRE[1] + reach * math.sin(angle), 1)

    parts = []
    for level in sorted({*ticks(floor, peak, 5), 0.0}):
        if floor < level <= peak:
            r = round(radius * (level - floor) / (peak - floor), 1)
            title = tag("title", f"{level:+g} %")
            ring = "ring zero" if level == 0 else "ring"
            parts.append(tag("circle", title, cx=_CENTRE[0], cy=_CENTRE[1], r=r, class_=ring))
    for axis, name in enumerate(axes):
        x, y = place(axis, peak)
        parts.append(tag("line", x1=_CENTRE[0], y1=_CENTRE[1], x2=x, y2=y, class_="grid"))
        parts.append(_axis_label(name, axis, len(axes), radius))
    filled = "shape own" if len(own) == 1 else "shape own many"
    for shape, kind in [*((shape, "shape") for shape in others), *((shape, filled) for shape in own)]:
        spots = [(*place(x, y), axes[int(x)], y) for x, y in shape.points if y is not None]
        outline = " ".join(f"{x},{y}" for x, y, _, _ in spots)
        drawn = [tag("polygon", tag("title", shape.name), points=outline, stroke_dasharray=shape.dash, class_=kind)]
        for x, y, axis_name, value in spots:
            title = tag("title", f"{shape.name}, {axis_name}: {value:+.1f} %")
            drawn.append(marker(shape.style, x, y, 4 if kind != "shape" else 3, title))
        parts.append(tag("g", *drawn, style=f"--c:var({shape.colour})"))
    for level in (level for level in ticks(floor, peak, 5) if floor < level < peak):
        x, y = place(0.5, level)
        text = f"{level:+g}".replace("-", "−") if level else "0 %"
        parts.append(tag("text", text, x=x, y=y + 4, text_anchor="middle", class_="halo"))
    return tag(
        "svg", *parts, viewBox=f"{left:.0f} {top:.0f} {width:.0f} {height:.0f}", role="img",
        class_="radar" if len(axes) < _CROWDED else "radar crowded",
        aria_label="Gain over the best teacher of each axis; the numbers are in the table above",
    )  # fmt: skip


def _frame(axes: Sequence[str]) -> tuple[float, tuple[float, float, float, float]]:
    """The radius and the box of the drawing, which leaves room for the names beside or around the circle."""
    letters = max(len(line) for name in axes for line in _label(name, len(axes)))
    if len(axes) < _CROWDED:
        radius = min(_RADIUS, 204.0 - 7.6 * letters)
        return radius, (0, _CENTRE[1] - radius - 42, 460, 2 * radius + 78)
    reach = _RADIUS + 14 + 7.4 * letters
    return _RADIUS, (_CENTRE[0] - reach, _CENTRE[1] - reach, 2 * reach, 2 * reach)


def _axis_label(name: str, axis: int, count: int, radius: float) -> Markup:
    angle = 360 * axis / count - 90
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    if count >= _CROWDED:
        x, y = round(_CENTRE[0] + (radius + 8) * cosine, 1), round(_CENTRE[1] + (radius + 8) * sine, 1)
        turned = angle if cosine > -1e-9 else angle + 180
        anchor = "start" if cosine > -1e-9 else "end"
        text = tag("tspan", *_label(name, count), class_="strong", dy=4)
        return tag("text", text, x=x, y=y, text_anchor=anchor, transform=f"rotate({round(turned, 1)} {x} {y})")
    x, y = _CENTRE[0] + (radius + 14) * cosine, _CENTRE[1] + (radius + 18) * sine
    anchor = "middle" if abs(cosine) < 0.2 else "start" if cosine > 0 else "end"
    first, *rest = _label(name, count)
    lines = [tag("tspan", first, x=round(x, 1), y=round(y - 2, 1), class_="strong")]
    lines += [tag("tspan", line, x=round(x, 1), dy=14) for line in rest]
    return tag("text", *lines, text_anchor=anchor)


def _label(name: str, count: int) -> list[str]:
    """A name on at most two lines, each shortened to fit beside the circle; on one line if there are many axes."""
    if count >= _CROWDED:
        return [shortened(name, _LABEL + 6)]
    first, _, second = name.partition("/" if "/" in name else " ")
    return [shortened(part, _LABEL) for part in (first, second) if part]
