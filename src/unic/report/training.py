"""metrics.jsonl as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unic.report.charts import line_chart
from unic.report.svg import Series, palette, thinned

Rows = Sequence[Mapping[str, Any]]

_STEEP = 10  # largest to smallest loss


def training_charts(rows: Rows, teachers: Sequence[str], colour: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """`main` charts and `small` ones, each with a title, an SVG and its series; what was not logged is left out."""
    teachers = teachers or _teachers(rows)

    def per_teacher(pattern: str) -> list[Series]:
        return [
            series(rows, pattern.format(name), name, colour.get(name, palette(number)), number + 1)
            for number, name in enumerate(teachers)
        ]

    loss = [series(rows, "loss", "all", "--ink", 0), *per_teacher("loss/{}")]
    main = [
        loss_chart(loss),
        chart("Cosine to the teacher, cls", per_teacher("cos/{}/cls"), high=1),
        chart("Cosine to the teacher, patches", per_teacher("cos/{}/patch"), high=1),
        chart("Share of images whose loss was kept", per_teacher("kept/{}"), low=0, high=1),
    ]
    knn = sorted({key for row in rows for key in row if key.startswith("knn/")})
    lines = [series(rows, key, key.removeprefix("knn/"), palette(number), number) for number, key in enumerate(knn)]
    small = [
        chart("k-NN during training, top-1 %", lines),
        chart("Learning rate", [series(rows, "lr", "lr", "--ink", 0)], low=0),
        chart("Images per second", [series(rows, "images_per_s", "images per second", "--ink", 0)], low=0),
        chart("Share of time waiting for data", [series(rows, "data_wait", "waiting", "--ink", 0)], low=0),
    ]
    return {"main": [item for item in main if item], "small": [item for item in small if item]}


def last_values(rows: Rows) -> dict[str, float]:
    """The last value of every key that was ever logged."""
    last: dict[str, float] = {}
    for row in rows:
        last |= {key: value for key, value in row.items() if _is_number(value)}
    return last


def chart(title: str, lines: Sequence[Series], **options: Any) -> dict[str, Any] | None:
    """A chart of the lines that have values, with a legend where they are several; None where none has."""
    known = [line for line in lines if line.values]
    if not known:
        return None
    return {"title": title, "svg": line_chart(title, known, **options), "series": known if len(known) > 1 else []}


def loss_chart(lines: Sequence[Series]) -> dict[str, Any] | None:
    """Logarithmic where a peak at the start would press all that follows to the floor."""
    values = [value for line in lines for value in line.values if value > 0]
    if values and max(values) > _STEEP * min(values):
        return chart("Loss, logarithmic", lines, log_y=True)
    return chart("Loss", lines, low=0)


def series(rows: Rows, key: str, name: str, colour: str, style: int) -> Series:
    """What was logged as `key` over the step."""
    points = [(float(row["step"]), _value(row[key])) for row in rows if key in row and _is_number(row["step"])]
    return Series(name, colour, thinned(points), style)


def _value(value: Any) -> float | None:
    return float(value) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _teachers(rows: Rows) -> list[str]:
    return list(dict.fromkeys(key.removeprefix("loss/") for row in rows for key in row if key.startswith("loss/")))
