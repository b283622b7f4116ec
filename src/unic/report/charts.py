"""Charts as inline SVG. Colours are CSS variables of the page, so charts follow dark mode and print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

MAX_POINTS = 400  # of a line; more are averaged in groups
_HOVERS = 40  # points of a line that tell their value
_WIDTH, _HEIGHT = 360, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 26
_LOWEST = -40.0  # % at the centre of the radar, unless the student itself is lower
_LABEL = 14  # letters
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "1 5")

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Series:
    """A line of a chart or a polygon of the radar.

    Attributes:
        name: of the legend and the tooltips.
        colour: a CSS variable, `--student` or `--t0` to `--t5`.
        points: (x, y), y None for a gap; in the radar x is the number of the axis.
        style: number of the dash pattern, so that colour is not the only difference.
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


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """An element with everything escaped; `_` in attribute names stands for `-`, a trailing one is dropped."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    shown = "".join(f' {key}="{escape(value)}"' for key, value in pairs if value not in ("", None))
    return Markup(f"<{name}{shown}>{''.join(escape(child) for child in children)}</{name}>")


def thinned(points: Sequence[Point], limit: int = MAX_POINTS) -> list[Point]:
    """At most `limit` points: means of equal groups of neighbours; a group without any value stays a gap."""
    size = math.ceil(len(points) / limit)
    if size <= 1:
        return list(points)
    result: list[Point] = []
    for start in range(0, len(points), size):
        group = points[start : start + size]
        values = [y for _, y in group if y is not None]
        result.append((group[len(group) // 2][0], sum(values) / len(values) if values else None))
    return result


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that cover `low` to `high`, about `count` steps apart."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def number(value: float) -> str:
    """Few digits: `0.25`, `12k`, `2.5e-4`."""
    if 0 < abs(value) < 0.01:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g}M"
    return f"{value / 1e3:.4g}k" if abs(value) >= 1e4 else f"{value:.4g}"


def line_chart(title: str, series: Sequence[Series], *, low: float | None = None, high: float | None = None) -> Markup:
    """Lines over the training step.

    Args:
        title: what the y axis shows, for readers who hear the page.
        series: at least one of them with a value.
        low, high: ends that the y axis must reach.
    """
    values = [value for line in series for value in line.values]
    steps = [x for line in series for x, _ in line.points]
    bottom, top = min([*values, *([] if low is None else [low])]), max([*values, *([] if high is None else [high])])
    if top - bottom < 1e-12 * max(1.0, abs(top)):
        bottom, top = bottom - (abs(bottom) or 1) * 0.1, top + (abs(top) or 1) * 0.1
    levels, start, end = _scale(bottom, top)
    left, right = min(steps), max(max(steps), min(steps) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)
        up = (y - start) / (end - start) * (_HEIGHT - _TOP - _BOTTOM)
        return round(_LEFT + across, 1), round(_HEIGHT - _BOTTOM - up, 1)

    parts = []
    for level in levels:
        _, y = place(left, level)
        parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", number(level), x=_LEFT - 6, y=y + 4, text_anchor="end"))
    for step in (tick for tick in ticks(left, right, 4) if left <= tick <= right):
        x, _ = place(step, start)
        parts.append(tag("text", number(step), x=x, y=_HEIGHT - 8, text_anchor="middle"))
    parts += [_line(line, place) for line in series]
    names = ", ".join(line.name for line in series)
    return tag(
        "svg", *parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=f"{title} over the step: {names}",
        class_="chart",
    )  # fmt: skip


def _scale(bottom: float, top: float) -> tuple[list[float], float, float]:
    """Round levels and the two ends; a level far outside the values is dropped rather than leave half a chart empty."""
    levels = ticks(bottom, top)
    slack = (levels[1] - levels[0]) * 0.4
    shown = [level for level in levels if bottom - slack <= level <= top + slack]
    return shown, min(bottom, shown[0]), max(top, shown[-1])


def _line(line: Series, place: object) -> Markup:
    assert callable(place)
    path, pen = [], "M"
    for x, y in line.points:
        if y is None:
            pen = "M"
            continue
        a, b = place(x, y)
        path.append(f"{pen}{a} {b}")
        pen = "L"
    known = [(x, y) for x, y in line.points if y is not None]
    spots = []
    for x, y in known[:: max(1, math.ceil(len(known) / _HOVERS))]:
        a, b = place(x, y)
        text = f"{line.name}, step {x:g}: {y:.4g}"
        spots.append(tag("circle", tag("title", text), cx=a, cy=b, r=6, class_="hover"))
    drawn = tag("path", tag("title", line.name), d=" ".join(path), stroke_dasharray=line.dash, class_="line")
    if len(known) == 1:
        a, b = place(*known[0])
        drawn = tag("circle", tag("title", line.name), cx=a, cy=b, r=3, class_="dot")
    return tag("g", drawn, *spots, style=f"--c:var({line.colour})")


def radar_floor(student: Series, teachers: Sequence[Series]) -> float:
    """The gain at the centre: all of the student is shown, teachers down to `_LOWEST`."""
    values = [value for shape in (student, *teachers) for value in shape.values]
    lowest = max(min(values, default=0.0), _LOWEST)
    return min(10 * math.floor(min([lowest, *student.values]) / 10), -10)


def radar(axes: Sequence[str], student: Series, teachers: Sequence[Series]) -> Markup:
    """Gains over the best teacher of each axis, in %; the heavy circle is 0.

    Args:
        axes: tasks, "set/task"; at least three.
        student, teachers: one value for each axis, None where it was not measured.
    """
    floor = radar_floor(student, teachers)
    peak = max([5.0, *(5 * math.ceil(value / 5) for value in student.values)])
    letters = max(len(part) for name in axes for part in _lines(name))
    centre, radius = (230.0, 190.0), min(146.0, 204.0 - 7.6 * letters)  # the names stand beside the circle

    def place(axis: float, value: float) -> tuple[float, float]:
        reach = radius * (min(max(value, floor), peak) - floor) / (peak - floor)
        angle = 2 * math.pi * axis / len(axes) - math.pi / 2
        return round(centre[0] + reach * math.cos(angle), 1), round(centre[1] + reach * math.sin(angle), 1)

    parts = []
    for level in sorted({*ticks(floor, peak, 5), 0.0}):
        if not floor < level <= peak:
            continue
        r = round(radius * (level - floor) / (peak - floor), 1)
        ring = "ring zero" if level == 0 else "ring"
        parts.append(tag("circle", tag("title", f"{level:+g} %"), cx=centre[0], cy=centre[1], r=r, class_=ring))
    for axis, name in enumerate(axes):
        x, y = place(axis, peak)
        parts.append(tag("line", x1=centre[0], y1=centre[1], x2=x, y2=y, class_="grid"))
        parts.append(_axis_label(name, axis / len(axes), centre, radius))
    for shape, kind in [*((teacher, "shape") for teacher in teachers), (student, "shape own")]:
        spots = [(*place(x, y), axes[int(x)], y) for x, y in shape.points if y is not None]
        outline = " ".join(f"{x},{y}" for x, y, _, _ in spots)
        drawn = [tag("polygon", tag("title", shape.name), points=outline, stroke_dasharray=shape.dash, class_=kind)]
        for x, y, task, value in spots:
            title = tag("title", f"{shape.name}, {task}: {value:+.1f} %")
            drawn.append(tag("circle", title, cx=x, cy=y, r=4 if kind != "shape" else 2.6, class_="dot"))
        parts.append(tag("g", *drawn, style=f"--c:var({shape.colour})"))
    for level in (level for level in ticks(floor, peak, 5) if floor < level <= 0):
        x, y = place(0.5, level)
        parts.append(
            tag(
                "text",
                f"{level:+g}".replace("-", "−") if level else "0 %",
                x=x,
                y=y + 4,
                text_anchor="middle",
                class_="halo",
            )
        )
    box = f"0 {round(centre[1] - radius - 42)} 460 {round(2 * radius + 78)}"
    return tag(
        "svg", *parts, viewBox=box, role="img", class_="radar",
        aria_label="Gain over the best teacher of each task; the numbers are in the table above",
    )  # fmt: skip


def _axis_label(name: str, turn: float, centre: tuple[float, float], radius: float) -> Markup:
    angle = 2 * math.pi * turn - math.pi / 2
    x, y = centre[0] + (radius + 14) * math.cos(angle), centre[1] + (radius + 18) * math.sin(angle)
    anchor = "middle" if abs(math.cos(angle)) < 0.2 else "start" if math.cos(angle) > 0 else "end"
    first, second = _lines(name)
    lines = [tag("tspan", first, x=round(x, 1), y=round(y - 2, 1), class_="strong")]
    if second:
        lines.append(tag("tspan", second, x=round(x, 1), dy=14))
    return tag("text", *lines, text_anchor=anchor)


def _lines(name: str) -> tuple[str, str]:
    """A task on two lines, each cut to what fits beside the circle."""
    first, _, second = name.partition("/")
    short = [part if len(part) <= _LABEL else part[: _LABEL - 1] + "…" for part in (first, second)]
    return short[0], short[1]
