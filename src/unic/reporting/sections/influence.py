"""Influence of each teacher: on the training, and on the tokens of the trained student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic.eval.results.row_title import set_of
from unic.eval.results.schema import Cell, Influence
from unic.recipe.schema import Recipe
from unic.reporting.read.scores import Scores
from unic.reporting.sections import kept

_COLUMNS = {
    "cka_cls": "CKA, cls", "cka_patch": "CKA, patches", "cosine_cls": "cosine, cls", "cosine_patch": "cosine, patches",
}  # fmt: skip
_GRADIENT = (
    "gradient: the teacher's share in the gradient that moves the student, by its norm at the trained weights (all "
    "shares make 1). "
)
_LIKENESS = (
    "CKA: similarity of the student's own tokens to the teacher's over the test images, 0 for unrelated ones, 1 for "
    "ones that are equal up to rotation and scale. cosine: between the teacher's tokens and the outputs of the "
    "student's kept head, both standardised."
)
_START = " start: the same for the weights that the student began with."


def influence(scores: Scores, recipe: Recipe | None = None) -> dict[str, Any]:
    """`tables`, each with a title, columns and a row for each teacher; a `note` if nothing was measured."""
    tables = [*_training(scores.results.influence or Influence(), recipe), *_tokens(scores)]
    if not tables:
        return {"note": "The influence of the teachers was not measured: the suite has no task influence."}
    return {"tables": tables}


def _training(influence: Influence, recipe: Recipe | None) -> list[dict[str, Any]]:
    shares = {"gradient": influence.gradient, "kept": influence.kept}
    known = [key for key, of_teachers in shares.items() if of_teachers]
    teachers = list(dict.fromkeys(name for key in known for name in shares[key]))
    whole = {key: max(1.0, *shares[key].values()) for key in known}  # weights may be above 1
    rows = [
        {"name": name, "cells": [_cell(shares[key].get(name), whole=whole[key]) for key in known]} for name in teachers
    ]
    note = _GRADIENT + kept.meaning(recipe, "in the last half of the training")
    return [{"title": "Share in the training", "columns": known, "rows": rows, "note": note}] if rows else []


def _tokens(scores: Scores) -> list[dict[str, Any]]:
    """A table for each set; beneath the student's numbers those of its start, if that was measured."""
    tables: list[dict[str, Any]] = []
    for task, row in scores.results.descriptions.items():
        own, before = _teachers(row, scores.student), _teachers(row, "start")
        columns = {key: label for key, label in _COLUMNS.items() if any(e.get(key) is not None for e in own.values())}
        if columns:
            rows: list[dict[str, Any]] = [
                {"name": name, "cells": [_cell(entry.get(key), before.get(name, {}).get(key)) for key in columns]}
                for name, entry in own.items()
            ]
            has_start = any(cell["before"] for row in rows for cell in row["cells"])
            title = f"Student and teacher on {set_of(task)}"
            tables.append(
                {
                    "title": title,
                    "columns": list(columns.values()),
                    "rows": rows,
                    "note": "" if tables else _LIKENESS + _START * has_start,
                }
            )
    return tables


def _teachers(row: Mapping[str, Cell], model: str | None) -> Mapping[str, Mapping[str, float | None]]:
    cell = row.get(model or "", Cell())
    return cell.details[0].get("teachers") or {} if cell.details else {}


def _cell(value: float | None, before: float | None = None, whole: float = 1.0) -> dict[str, Any]:
    """A number with its bar, which is full at `whole`."""
    return {
        "text": "–" if value is None else f"{value:.2f}",
        "share": max(0.0, min(1.0, (value or 0.0) / whole)),
        "before": "" if before is None else f"start {before:.2f}",
    }
