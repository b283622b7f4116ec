"""The page of a sweep: one table, and how far each variant is from the base."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unic.quantities import duration
from unic.recipe.references import WithReferences
from unic.reporting.draw.forest import Line, forest_plot, is_far
from unic.reporting.render import render, write_page
from unic.sweeps.measured import Measured
from unic.sweeps.paired import Difference
from unic.sweeps.summary import Mean, SuiteSummary
from unic.sweeps.table import changes, difference, score, unit_of


def write_sweep(
    summaries: Sequence[SuiteSummary],
    trainings: Sequence[Measured],
    name: str,
    target: Path,
    hidden: WithReferences,
) -> Path:
    """Writes one file that needs no network, and returns its path.

    Args:
        summaries: one for each suite, at least one.
        trainings: the finished ones, from which the summaries were made.
        name: name of the sweep.
        target: the file; its folder is made.
        hidden: values of environment variables, as the recipe of the sweep has them.
    """
    return write_page(render("sweep.html.j2", collect_sweep(summaries, trainings, name), hidden), target)


def collect_sweep(summaries: Sequence[SuiteSummary], trainings: Sequence[Measured], name: str) -> dict[str, Any]:
    """Everything that the template shows."""
    first = summaries[0]
    seconds = [one.train_s for one in trainings if one.train_s is not None]
    return {
        "name": name,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "base": first.base,
        "sentence": _sentence(first),
        "count": len(trainings),
        "time": duration(sum(seconds)) if seconds else "",
        "suites": [_suite(summary) for summary in summaries],
        "variants": [{"name": row.name, "changes": changes(row)} for row in first.rows],
    }


def _sentence(summary: SuiteSummary) -> str:
    """How many variants are above and below the base, by the mean over seen tasks; those of one seed are neither."""
    kind = next(iter(summary.kinds), None)
    found = [row.means[kind].difference for row in summary.rows if kind and kind in row.means]
    known = [one for one in found if one and one.covers_seeds]
    single = sum(one is not None and len(one.seeds) == 1 for one in found)
    if not known and not single:
        return "No variant can be compared with the base yet."
    if not known:
        return f"No variant has two seeds in common with {summary.base} yet, and one seed shows no difference."
    of_one = (
        f" {single} more {_have(single)} one seed in common with {summary.base}, which shows no difference."
        if single
        else ""
    )
    above, below = sum(one.is_above for one in known), sum(one.is_below for one in known)
    return (
        f"Of {len(known)} variant{'s' if len(known) > 1 else ''}, {above} {_are(above)} above {summary.base} and "
        f"{below} {_are(below)} below it, by the 95 % interval of the mean over {kind} tasks.{of_one}"
    )


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _suite(summary: SuiteSummary) -> dict[str, Any]:
    heads = [
        {"label": summary.label(kind), "unit": f"{unit_of(summary, kind)}, mean of {len(tasks)}"}
        for kind, tasks in summary.kinds.items()
    ]
    heads += [{"label": task, "unit": unit} for task, unit in summary.units.items()]
    rows = []
    for row in summary.rows:
        means = [(row.means.get(kind), unit_of(summary, kind)) for kind in summary.kinds]
        tasks = [(row.tasks.get(task), unit) for task, unit in summary.units.items()]
        rows.append(
            {
                "label": row.name, "seeds": len(row.seeds), "is_base": row.name == summary.base,
                "cells": [_cell(mean, unit) for mean, unit in (*means, *tasks)],
            }
        )  # fmt: skip
    return {
        "name": summary.name,
        "heads": heads,
        "rows": rows,
        "plots": [plot for kind in summary.kinds if (plot := _plot(summary, kind))],
        "notes": summary.notes(),
    }


def _cell(mean: Mean | None, unit: str) -> dict[str, Any]:
    known = mean.difference if mean else None
    return {
        "text": score(mean, unit).replace("-", "−"),
        "difference": difference(mean, unit).replace("-", "−"),
        "side": _side(known) if known else "level",
    }


def _plot(summary: SuiteSummary, kind: Any) -> dict[str, Any] | None:
    unit = unit_of(summary, kind)
    lines = [
        Line(row.name, mean.difference.mean, mean.difference.ci, difference(mean, unit).replace("-", "−"),
             _side(mean.difference))
        for row in summary.rows
        if (mean := row.means.get(kind)) and mean.difference
    ]  # fmt: skip
    title = f"Mean over {kind} tasks ({unit}): difference to {summary.base}"
    if not lines:
        return None
    return {"title": title, "svg": forest_plot(title, lines), "has_far": any(is_far(line, lines) for line in lines)}


def _side(one: Difference) -> str:
    if not one.covers_seeds:
        return "open"
    return "above" if one.is_above else "below" if one.is_below else "level"
