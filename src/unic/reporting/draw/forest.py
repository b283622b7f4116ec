"""Differences to a base with their intervals, a row each: a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from unic.reporting.draw.charts import Scale
from unic.reporting.draw.rows import grid, whisker
from unic.reporting.draw.svg import shortened, tag

_WIDTH, _LEFT, _RIGHT = 720, 230, 150
_ROW, _TOP, _BOTTOM = 24, 4, 24
_LABEL = 36  # letters of a name
_FAR = 4  # times the largest end of most rows


class Line(NamedTuple):
    """A row.

    Attributes:
        name: name of the variant that is compared with the base.
        difference: score of the variant minus that of the base.
        interval: lower and upper end of the difference's interval; None: not known.
        text: difference and interval as the table shows them.
        side: `above` or `below` the base, `level` with it, or `open` where one seed cannot tell.
    """

    name: str
    difference: float
    interval: Sequence[float] | None
    text: str
    side: str


def forest_plot(title: str, lines: Sequence[Line]) -> Markup:
    """A row for each line, in the given order; a heavy line runs through all rows at 0, where the base is.

    A difference far beyond most others would squeeze these. It is a triangle at the edge.

    Args:
        title: name of the measure, for screen readers.
        lines: at least one.
    """
    ends = [0.0, *(end for line in lines if not is_far(line, lines) for end in _ends(line))]
    margin = (max(ends) - min(ends) or 1.0) * 0.04
    axis = Scale(min(ends) - margin, max(ends) + margin, _LEFT, _WIDTH - _RIGHT)
    height = _TOP + _ROW * len(lines) + _BOTTOM
    bottom = height - _BOTTOM
    parts = grid(axis, _TOP, bottom, height - 7)
    zero = axis.place(0)
    parts.append(tag("line", x1=zero, x2=zero, y1=_TOP, y2=bottom, class_="zero"))
    parts += [_row(line, _TOP + _ROW * (place + 0.5), axis) for place, line in enumerate(lines)]
    said = "; ".join(f"{line.name} {line.text}" for line in lines)
    return tag(
        "svg", *parts, viewBox=f"0 0 {_WIDTH} {height}", role="img", aria_label=f"{title}: {said}", class_="forest"
    )


def is_far(line: Line, lines: Sequence[Line]) -> bool:
    """Whether a difference lies far beyond three quarters of the rows and their intervals."""
    most = sorted(lines, key=lambda one: abs(one.difference))[: max(1, len(lines) * 3 // 4)]
    return abs(line.difference) > _FAR * max(abs(end) for one in most for end in _ends(one)) > 0


def _ends(line: Line) -> list[float]:
    return [line.difference, *(line.interval or ())]


def _row(line: Line, y: float, axis: Scale) -> Markup:
    parts = [tag("title", f"{line.name}: {line.text}")]
    parts.append(tag("text", shortened(line.name, _LABEL), x=_LEFT - 12, y=y + 4, text_anchor="end", class_="name"))
    if axis.low <= line.difference <= axis.high:
        parts += whisker(axis, line.interval, y, 4)
        parts.append(tag("circle", cx=axis.place(line.difference), cy=y, r=4.4, class_="dot"))
    else:
        x, out = (axis.end, 1) if line.difference > 0 else (axis.start, -1)
        points = f"{x},{y} {x - 8 * out},{y - 5} {x - 8 * out},{y + 5}"
        parts.append(tag("polygon", points=points, class_="dot"))
    parts.append(tag("text", line.text, x=_WIDTH - 4, y=y + 4, text_anchor="end", class_="name"))
    return tag("g", *parts, class_=line.side)
