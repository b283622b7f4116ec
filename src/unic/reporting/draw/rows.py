"""Parts of a plot with one row for each thing: the grid of its x axis, and the interval of a row."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from unic.reporting.draw.charts import Scale
from unic.reporting.draw.svg import number, tag


def grid(axis: Scale, top: float, bottom: float, label: float) -> list[Markup]:
    """A vertical line with its number at each tick of the x axis.

    Args:
        axis: the x axis.
        top, bottom: ends of the lines.
        label: baseline of the numbers.
    """
    parts = []
    for level in axis.ticks():
        x = axis.place(level)
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(tag("text", number(level), x=x, y=label, text_anchor="middle"))
    return parts


def whisker(axis: Scale, interval: Sequence[float] | None, y: float, cap: float) -> list[Markup]:
    """A horizontal line from one end of an interval to the other, with a cap at each; nothing without an interval.

    Args:
        axis: the x axis.
        interval: both ends, as values.
        y: middle of the row.
        cap: half the height of a cap.
    """
    if not interval:
        return []
    low, high = (axis.place(end) for end in interval)
    caps = [tag("line", x1=x, x2=x, y1=y - cap, y2=y + cap, class_="whisker") for x in (low, high)]
    return [tag("line", x1=low, x2=high, y1=y, y2=y, class_="whisker"), *caps]
