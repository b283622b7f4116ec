"""metrics.jsonl as charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

from unic.recipe.schema import Recipe
from unic.reporting.draw.charts import line_chart
from unic.reporting.draw.svg import Point, Series, palette, thinned
from unic.reporting.sections import kept
from unic.runs.metric_names import (
    DATA_WAIT,
    DRIFT,
    IMAGES_PER_S,
    KNN,
    KNN_UNSEEN,
    LOSS,
    LR,
    TOP1,
    cosine_of,
    kept_of,
    loss_of,
)

Rows = Sequence[Mapping[str, Any]]

_STEEP = 10  # ratio of the largest to the smallest loss from which on the scale is logarithmic
_FEWEST = 4  # points that a line needs to have a usual distance
_LOSS = "Each value is of one batch; “all” is the mean over the pairs of teacher and image that count."
_COSINE = (
    "Mean cosine between the teacher's tokens and the student's projector outputs, both standardised: 1 where the "
    "teacher is imitated perfectly, about 0 where nothing of it is learnt."
)
_DRIFT = (
    "Mean of 1 - cosine between the student's own CLS and that of its start, on images of sources with an anchor: 0 "
    "where nothing has changed."
)
_UNSEEN = (
    "Sets that are no source of training: a falling line shows that the student forgets. They do not choose the best "
    "checkpoint."
)


def training_charts(
    rows: Rows, teachers: Sequence[str], colour: Mapping[str, str], recipe: Recipe | None = None
) -> dict[str, list[dict[str, Any]]]:
    """`main` charts and `small` ones, each with a title, an SVG and its series; what was not logged is left out."""
    teachers = teachers or _teachers(rows)

    def per_teacher(key_of: Callable[[str], str]) -> list[Series]:
        return [
            series(rows, key_of(name), name, colour.get(name, palette(index)), index + 1)
            for index, name in enumerate(teachers)
        ]

    loss = [series(rows, LOSS, "all", "--ink", 0), *per_teacher(loss_of)]
    main = [
        loss_chart(loss, note=_LOSS if teachers else ""),
        chart("Cosine to the teacher, cls", per_teacher(partial(cosine_of, tokens="cls")), note=_COSINE, high=1),
        chart("Cosine to the teacher, patches", per_teacher(partial(cosine_of, tokens="patch")), note=_COSINE, high=1),
        chart(kept.title(recipe), per_teacher(kept_of), note=kept.meaning(recipe, "in a batch"), low=0, high=1),
    ]
    small = [
        chart(f"k-NN during training, {TOP1}", _online_knn(rows, f"{KNN}/")),
        chart(f"k-NN on unseen sets, {TOP1}", _online_knn(rows, f"{KNN_UNSEEN}/"), note=_UNSEEN),
        chart("Drift from the start", [series(rows, DRIFT, "drift", "--ink", 0)], low=0, note=_DRIFT),
        chart("Learning rate", [series(rows, LR, "lr", "--ink", 0)], low=0),
        chart("Images per second", [series(rows, IMAGES_PER_S, "images per second", "--ink", 0)], low=0),
        chart("Share of time waiting for data", [series(rows, DATA_WAIT, "waiting", "--ink", 0)], low=0),
    ]
    return {"main": [item for item in main if item], "small": [item for item in small if item]}


def _online_knn(rows: Rows, prefix: str) -> list[Series]:
    """The logged k-NN scores during training, a line for each set."""
    keys = sorted({key for row in rows for key in row if key.startswith(prefix)})
    return [series(rows, key, key.removeprefix(prefix), palette(index), index) for index, key in enumerate(keys)]


def last_values(rows: Rows) -> dict[str, float]:
    """The last value of every key that was ever logged."""
    last: dict[str, float] = {}
    for row in rows:
        last |= {key: value for key, value in row.items() if is_number(value)}
    return last


def chart(title: str, lines: Sequence[Series], *, note: str = "", **options: Any) -> dict[str, Any] | None:
    """A chart of the lines that have values, with a legend if there are several; None if no line has values.

    `note`: an explanation beneath the chart.
    """
    known = [line for line in lines if line.values]
    if not known:
        return None
    svg = line_chart(title, known, **options)
    return {"title": title, "svg": svg, "series": known if len(known) > 1 else [], "note": note}


def loss_chart(lines: Sequence[Series], *, note: str = "") -> dict[str, Any] | None:
    """The chart of the loss, logarithmic if a peak at the start would flatten the rest."""
    values = [value for line in lines for value in line.values if value > 0]
    if values and max(values) > _STEEP * min(values):
        return chart("Loss, logarithmic", lines, note=note, log_y=True)
    return chart("Loss", lines, note=note, low=0)


def series(rows: Rows, key: str, name: str, colour: str, style: int) -> Series:
    """The values logged as `key`, over the step."""
    points = [(float(row["step"]), _value(row[key])) for row in rows if key in row and is_number(row["step"])]
    return Series(name, colour, thinned(_with_whole_end(points)), style)


def _with_whole_end(points: list[Point]) -> list[Point]:
    """Merges the last point into the one before it, if it stands for less than half as many steps as usual.

    The last step is always logged, often right after a regular one. A rate over that single step, or the loss of one
    more batch, would end the line with a spike. So the two are averaged, weighted by the steps that they stand for.
    """
    if len(points) < _FEWEST:
        return points
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(points)]
    *rest, (_, before), (step, last) = points
    if before is None or last is None or gaps[-2] <= 0 or not 0 <= gaps[-1] < median(gaps) / 2:
        return points
    return [*rest, (step, (before * gaps[-2] + last * gaps[-1]) / (gaps[-2] + gaps[-1]))]


def _value(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _teachers(rows: Rows) -> list[str]:
    return list(
        dict.fromkeys(key.removeprefix(loss_of("")) for row in rows for key in row if key.startswith(loss_of("")))
    )
