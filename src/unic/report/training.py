"""metrics.jsonl as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unic.report.charts import Series, line_chart, thinned

Rows = Sequence[Mapping[str, Any]]


def training_charts(rows: Rows, teachers: Sequence[str], colour: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """`main` charts and `small` ones, each with a title, an SVG and its series; what was not logged is left out."""
    teachers = teachers or _teachers(rows)

    def per_teacher(pattern: str) -> list[Series]:
        return [
            _series(rows, pattern.format(name), name, colour.get(name, f"--t{number % 6}"), number + 1)
            for number, name in enumerate(teachers)
        ]

    loss = [_series(rows, "loss", "all", "--ink", 0), *per_teacher("loss/{}")]
    main = [
        _chart("Loss", loss, low=0),
        _chart("Cosine to the teacher, cls", per_teacher("cos/{}/cls"), high=1),
        _chart("Cosine to the teacher, patches", per_teacher("cos/{}/patch"), high=1),
        _chart("Share of images whose loss was kept", per_teacher("kept/{}"), low=0, high=1),
    ]
    knn = sorted({key for row in rows for key in row if key.startswith("knn/")})
    lines = [_series(rows, key, key.removeprefix("knn/"), f"--t{number % 6}", number) for number, key in enumerate(knn)]
    small = [
        _chart("k-NN during training, top-1 %", lines),
        _chart("Learning rate", [_series(rows, "lr", "lr", "--ink", 0)], low=0),
        _chart("Images per second", [_series(rows, "images_per_s", "images per second", "--ink", 0)], low=0),
        _chart("Share of time waiting for data", [_series(rows, "data_wait", "waiting", "--ink", 0)], low=0),
    ]
    return {"main": [chart for chart in main if chart], "small": [chart for chart in small if chart]}


def last_values(rows: Rows) -> dict[str, float]:
    """The last value of every key that was ever logged."""
    last: dict[str, float] = {}
    for row in rows:
        last |= {key: value for key, value in row.items() if _is_number(value)}
    return last


def _chart(title: str, series: Sequence[Series], **ends: float) -> dict[str, Any] | None:
    known = [line for line in series if line.values]
    if not known:
        return None
    return {"title": title, "svg": line_chart(title, known, **ends), "series": known if len(known) > 1 else []}


def _series(rows: Rows, key: str, name: str, colour: str, style: int) -> Series:
    points = [(float(row["step"]), _value(row[key])) for row in rows if key in row and _is_number(row["step"])]
    return Series(name, colour, thinned(points), style)


def _value(value: Any) -> float | None:
    return float(value) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _teachers(rows: Rows) -> list[str]:
    return list(dict.fromkeys(key.removeprefix("loss/") for row in rows for key in row if key.startswith("loss/")))
