"""Line charts as inline SVG, on linear or logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from unic.reporting.draw.svg import Series, log_ticks, number, tag, ticks

_HOVERS = 40  # points of a line that tell their value
_WIDTH, _HEIGHT = 360, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 26


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        low, high, at = (math.log(v) if self.is_log else v for v in (self.low, self.high, value))
        return round(self.start + (at - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values within the ends."""
        if self.is_log:
            return log_ticks(self.low, self.high)
        return [tick for tick in ticks(self.low, self.high) if self.low <= tick <= self.high]


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    low: float | None = None,
    high: float | None = None,
    x_name: str = "step",
    log_x: bool = False,
    log_y: bool = False,
    num_hovers: int = _HOVERS,
) -> Markup:
    """Lines over the training step, or another x.

    Args:
        title: name of the y axis, for screen readers.
        series: at least one of them with a value.
        low, high: ends that the y axis must reach.
        log_x, log_y: logarithmic scales; values that are not above 0 become gaps.
        num_hovers: points of each line that tell their value.
    """
    if log_x or log_y:
        series = [_positive(line, log_x, log_y) for line in series]
    values = [value for line in series for value in line.values]
    ends = [end for end in (low, high) if end is not None and not log_y]
    y_axis, levels = _vertical(min([*values, *ends]), max([*values, *ends]), log_y)
    steps = [x for line in series for x, _ in line.points]
    x_axis = Scale(min(steps), max(max(steps), min(steps) + 1), _LEFT, _WIDTH - _RIGHT, log_x)
    parts = []
    for level in levels:
        y = y_axis.place(level)
        parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", number(level), x=_LEFT - 6, y=y + 4, text_anchor="end"))
    for step in x_axis.ticks():
        x = x_axis.place(step)
        at_edge = x > _WIDTH - _RIGHT - 4  # else half of the number would lie outside
        end = {"x": _WIDTH - 1, "text_anchor": "end"} if at_edge else {"x": x, "text_anchor": "middle"}
        parts.append(tag("text", number(step), y=_HEIGHT - 8, **end))
    parts += [_line(line, x_axis, y_axis, x_name, num_hovers) for line in series]
    names = ", ".join(line.name for line in series)
    return tag(
        "svg", *parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=f"{title} over the {x_name}: {names}",
        class_="chart",
    )  # fmt: skip


def _positive(line: Series, log_x: bool, log_y: bool) -> Series:
    points = [(x, None if log_y and y is not None and y <= 0 else y) for x, y in line.points if x > 0 or not log_x]
    return replace(line, points=points)


def _vertical(bottom: float, top: float, is_log: bool) -> tuple[Scale, list[float]]:
    """The y axis and its levels. A level far outside the values is dropped, as it would leave half the chart empty."""
    ends = (_HEIGHT - _BOTTOM, _TOP)
    if top - bottom < 1e-12 * max(1.0, abs(top)):
        margin = (abs(bottom) or 1) * 0.1
        bottom, top = bottom - margin, top + margin
    if is_log:
        return Scale(bottom, top, *ends, is_log=True), log_ticks(bottom, top)
    levels = ticks(bottom, top)
    slack = (levels[1] - levels[0]) * 0.4
    shown = [level for level in levels if bottom - slack <= level <= top + slack]
    return Scale(min(bottom, shown[0]), max(top, shown[-1]), *ends), shown


def _line(line: Series, x_axis: Scale, y_axis: Scale, x_name: str, num_hovers: int) -> Markup:
    path, pen = [], "M"
    for x, y in line.points:
        if y is None:
            pen = "M"
            continue
        path.append(f"{pen}{x_axis.place(x)} {y_axis.place(y)}")
        pen = "L"
    known = [(x, y) for x, y in line.points if y is not None]
    spots = []
    for x, y in known[:: max(1, math.ceil(len(known) / num_hovers))]:
        text = f"{line.name}, {x_name} {x:g}: {y:.4g}"
        spots.append(tag("circle", tag("title", text), cx=x_axis.place(x), cy=y_axis.place(y), r=6, class_="hover"))
    drawn = tag("path", tag("title", line.name), d=" ".join(path), stroke_dasharray=line.dash, class_="line")
    if len(known) == 1:
        (x, y), *_ = known
        drawn = tag("circle", tag("title", line.name), cx=x_axis.place(x), cy=y_axis.place(y), r=3, class_="dot")
    return tag("g", drawn, *spots, style=f"--c:var({line.colour})")
