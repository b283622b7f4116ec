"""Use of the feature space: spectra of the features' principal axes and of the weights, by model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic.eval.results.row_title import set_of
from unic.eval.results.schema import Cell
from unic.reporting.draw.charts import line_chart
from unic.reporting.draw.looks import Looks
from unic.reporting.read.scores import Scores

_KINDS = {"cls": "cls", "patch_mean": "mean of patches"}
_HOVERS = 12  # there are many of these charts
_LOWEST = 1e-6  # share of the variance; lower values are rounding errors of features


def spectrum(scores: Scores, looks: Looks) -> dict[str, Any]:
    """`sets`, each with charts and a table, `weights` and the `legend`; a `note` if nothing was measured."""
    sets = []
    weights: dict[str, Mapping[str, Any]] = {}
    for task, row in scores.results.descriptions.items():
        found = {name: _details(row.get(name)) for name in scores.names}
        known = {name: details for name, details in found.items() if _has_curve(details)}
        if known:
            sets.append(_set(set_of(task), known, looks))
            weights |= {name: details["weights"] for name, details in known.items() if details.get("weights")}
    if not sets:
        return {"note": "The spectra were not measured: the suite has no task spectrum."}
    return {"sets": sets, "weights": _weights(weights, looks), "legend": looks.legend(scores.names)}


def _details(cell: Cell | None) -> Mapping[str, Any]:
    return cell.details[0] if cell and cell.details else {}


def _has_curve(details: Mapping[str, Any]) -> bool:
    return any((details.get(kind) or {}).get("curve") for kind in _KINDS)


def _set(name: str, known: Mapping[str, Mapping[str, Any]], looks: Looks) -> dict[str, Any]:
    charts = []
    for kind, label in _KINDS.items():
        lines = []
        for model, details in known.items():
            curve = (details.get(kind) or {}).get("curve")
            if curve:
                values = [value if value >= _LOWEST else None for value in curve["variance"]]
                points = list(zip(map(float, curve["component"]), values, strict=True))
                lines.append(looks.series(model, points))
        if any(line.values for line in lines):
            title = f"Share of the variance, {label}"
            svg = line_chart(title, lines, x_name="component", log_x=True, log_y=True, num_hovers=_HOVERS)
            charts.append({"title": title, "svg": svg, "series": []})
    rows = [{"name": model, "cells": _numbers(details)} for model, details in known.items()]
    return {"name": name, "charts": charts, "rows": rows}


def _numbers(details: Mapping[str, Any]) -> list[str]:
    """Dimension, effective rank, participation ratio and axes of 90 % of the variance, of both kinds of vectors."""
    cells = []
    for kind in _KINDS:
        part = details.get(kind) or {}
        values = [part.get("effective_rank"), part.get("participation_ratio")]
        cells.append(str(part.get("dim", "–")))
        cells += ["–" if value is None else f"{value:.1f}" for value in values]
        cells.append(str((part.get("components") or {}).get("90", "–")))
    return cells


def _weights(weights: Mapping[str, Mapping[str, Any]], looks: Looks) -> dict[str, Any] | None:
    """Effective rank of the weight matrices as a part of the full one: means by model, and a line over its blocks."""
    if not weights:
        return None
    rows = [
        {
            "name": name,
            "matrices": use.get("num_matrices", "–"),
            "effective": f"{use['effective_rank']:.2f}",
            "stable": f"{use['stable_rank']:.2f}",
        }
        for name, use in weights.items()
    ]
    lines = []
    for name, use in weights.items():
        values = [block["effective_rank"] for block in (use.get("by_block") or {}).values()]
        points = [(float(place), value) for place, value in enumerate(values, start=1)]
        lines.append(looks.series(name, points))
    title = "Effective rank of the weights, part of the full one"
    chart = None
    if any(len(line.points) > 1 for line in lines):
        chart = {
            "title": title,
            "svg": line_chart(title, lines, low=0, x_name="block", num_hovers=_HOVERS),
            "series": [],
        }
    return {"rows": rows, "chart": chart}
