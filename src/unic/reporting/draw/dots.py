"""Scores of one task as dots with their intervals. Dots, not bars: the scale does not begin at 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from unic.reporting.draw.charts import Scale
from unic.reporting.draw.rows import grid, whisker
from unic.reporting.draw.svg import Series, marker, shortened, tag

_WIDTH, _LEFT, _RIGHT = 264, 78, 42
_ROW, _TOP, _BOTTOM = 19, 2, 20
_LABEL = 11  # letters of a model's name


@dataclass(frozen=True)
class Dot:
    """A model on a task.

    Attributes:
        model: its name and looks.
        text: the score as the table shows it.
        interval: its two ends, if known.
        kind: its role, or "to-beat" for the best teacher.
    """

    model: Series
    score: float
    text: str
    kind: str
    interval: Sequence[float] | None = None


def dot_chart(title: str, dots: Sequence[Dot]) -> Markup:
    """A row for each model, in the given order; a dashed line runs through all rows at the best teacher's score."""
    ends = [end for dot in dots for end in (dot.score, *(dot.interval or ()))]
    margin = (max(ends) - min(ends) or abs(ends[0]) or 1) * 0.05
    axis = Scale(min(ends) - margin, max(ends) + margin, _LEFT, _WIDTH - _RIGHT)
    height = _TOP + _ROW * len(dots) + _BOTTOM
    bottom = height - _BOTTOM
    parts = grid(axis, _TOP, bottom, height - 6)
    for dot in dots:
        if dot.kind == "to-beat":
            x = axis.place(dot.score)
            parts.append(tag("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="bar"))
    parts += [_row(dot, _TOP + _ROW * (place + 0.5), axis) for place, dot in enumerate(dots)]
    said = "; ".join(f"{dot.model.name} {dot.text}" for dot in dots)
    box = f"0 0 {_WIDTH} {height}"
    return tag("svg", *parts, viewBox=box, role="img", aria_label=f"{title}: {said}", class_="dots")


def _row(dot: Dot, y: float, axis: Scale) -> Markup:
    ends = f", 95 % interval {dot.interval[0]:g} to {dot.interval[1]:g}" if dot.interval else ""
    parts = [tag("title", f"{dot.model.name}: {dot.text}{ends}")]
    parts.append(tag("rect", x=0, y=y - _ROW / 2, width=_WIDTH, height=_ROW, class_="band"))
    parts.append(tag("text", shortened(dot.model.name, _LABEL), x=4, y=y + 4, class_="name"))
    parts += whisker(axis, dot.interval, y, 3.5)
    parts.append(marker(dot.model.style, axis.place(dot.score), y, 4.4 if dot.kind == "student" else 3.8))
    parts.append(tag("text", dot.text, x=_WIDTH - 4, y=y + 4, text_anchor="end", class_="score"))
    return tag("g", *parts, class_=dot.kind, style=f"--c:var({dot.model.colour})")
