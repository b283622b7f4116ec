"""The table of scores: a row for each task, unseen ones last, then means, axes, the mean gains and the mean rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic.eval.results.axes import members_by_axis, tasks_with_mean
from unic.eval.results.row_title import by_task, sets_of
from unic.eval.results.seen import MeanGain, kind_of, labelled
from unic.reporting.read.scores import Scores, millions, shown, side, signed, span
from unic.reporting.sections.roles import group_label


def table(scores: Scores, colour: Mapping[str, str]) -> dict[str, Any]:
    """Groups of columns, columns, rows of tasks and rows at the foot."""
    columns = [
        {
            "name": name,
            "role": scores.role(name),
            "uri": scores.models[name].uri,
            "colour": colour.get(name),
            "size": millions(scores.models[name].num_parameters),
        }
        for name in scores.names
    ]
    roles = [str(column["role"]) for column in columns]
    has_gain = bool(scores.student and scores.teachers)
    foot = _mean_rows(scores)
    if has_gain:
        foot += [*_axis_rows(scores), *(_mean_gain(scores, mean) for mean in scores.mean_gains)]
    return {
        "columns": columns,
        "groups": [
            {"role": role, "label": group_label(scores, role), "span": roles.count(role)}
            for role in dict.fromkeys(roles)
        ],
        "unit": _usual_unit(scores),
        "is_mixed": scores.shared_unit is None,
        "has_gain": has_gain,
        "rows": [_row(scores, task) for task in [*scores.seen, *scores.unseen]],
        "unseen": ", ".join(sets_of(scores.unseen)),
        "axes": members_by_axis(scores.results),
        "foot": foot + _rank_rows(scores),
    }


def _row(scores: Scores, task: str) -> dict[str, Any]:
    unit, gain, difference = scores.unit(task), scores.gains.get(task), scores.interval(task)
    measure = f"{'' if unit == _usual_unit(scores) else unit}{' ↓' if scores.lower_is_better(task) else ''}".strip()
    return {
        "task": task,
        "unit": ", ".join(filter(None, (measure, "unseen" if task in scores.unseen else ""))),
        "cells": [_cell(scores, task, name, unit) for name in scores.names],
        "gain": _gain(gain, difference, unit) if gain is not None else None,
    }


def _usual_unit(scores: Scores) -> str:
    """The measure of the means, which stands above the table."""
    return scores.unit(next(iter(scores.comparable() or scores.tasks)))


def _cell(scores: Scores, task: str, name: str, unit: str) -> dict[str, Any]:
    cell = scores.cell(task, name)
    spread = cell.spread if cell.by_training is None else cell.training_spread
    ends = [shown(end, unit) for end in cell.ci or ()]
    return {
        "text": shown(cell.score, unit),
        "spread": shown(spread, unit) if spread else "",
        "hint": f"95 % interval {ends[0]} to {ends[1]}" if ends else "",
        "error": cell.error,
        "is_best": name == scores.best_teacher.get(task),
        "role": scores.role(name),
    }


def _gain(gain: float, interval: list[float] | None, unit: str = "%", after: str = "") -> dict[str, str]:
    ends = f"{span(interval, unit)}{after}" if interval else ""
    return {"text": f"{signed(gain)} %", "ends": ends, "outcome": side(interval) if interval else ""}


def _foot(scores: Scores, label: str, texts: Mapping[str, str], best: str | None = None, **more: Any) -> dict[str, Any]:
    cells = [{"text": texts.get(name, ""), "role": scores.role(name), "is_best": name == best} for name in scores.names]
    return {"label": label, "cells": cells, "gain": None, **more}


def _mean_rows(scores: Scores) -> list[dict[str, Any]]:
    """The mean of each kind of task over the seen sets, then of each measure; a single row if both are the same. Last
    the means of axes."""
    kinds = by_task(scores.seen)
    units: dict[str, list[str]] = {}
    for task in scores.seen:
        units.setdefault(scores.unit(task), []).append(task)
    groups = {
        f"mean of {kind}": tasks
        for kind, tasks in kinds.items()
        if len(kinds) > 1 and len(tasks) > 1 and len({scores.unit(task) for task in tasks}) == 1
    }
    known = list(groups.values())
    whole = {"mean of all" if len(units) == 1 else f"mean of {unit}": tasks for unit, tasks in units.items()}
    groups |= {label: tasks for label, tasks in whole.items() if len(tasks) > 1 and tasks not in known}
    rows = []
    for label, tasks in groups.items():
        texts = {name: shown(scores.mean(name, tasks), scores.unit(tasks[0])) for name in scores.names}
        rows.append(_foot(scores, scores.labelled(label), texts))
    for axis, tasks in tasks_with_mean(scores.results).items():
        texts = {name: shown(scores.mean(name, tasks), scores.unit(tasks[0])) for name in scores.names}
        label = labelled(f"mean of {axis}", scores.results, kind_of(scores.results, tasks))
        rows.append(_foot(scores, label, texts))
    return rows


def _axis_rows(scores: Scores) -> list[dict[str, Any]]:
    """Gain of every model over the best teacher of each axis."""
    rows = []
    for name, axis in scores.results.axes.items():
        best = axis.best_teacher
        texts = {model: "0.0 %" if model == best else f"{signed(value)} %" for model, value in axis.gains.items()}
        own = None if axis.gain is None else _gain(axis.gain, axis.ci, after=" %")
        of = labelled(name, scores.results, kind_of(scores.results, axis.tasks))
        rows.append(_foot(scores, f"{of}, gain", texts, best, gain=own))
    return rows


def _mean_gain(scores: Scores, mean: MeanGain) -> dict[str, Any]:
    gains = {name: mean.gains.get(name) for name in scores.names}
    texts = {name: "" if gain is None else f"{signed(gain)} %" for name, gain in gains.items()}
    own = None if mean.gain is None else _gain(mean.gain, mean.ci, after=" %")
    return _foot(scores, mean.label, texts, gain=own)


def _rank_rows(scores: Scores) -> list[dict[str, Any]]:
    texts = {name: f"{rank:.1f}" for name, rank in scores.results.ranks.items()}
    return [_foot(scores, scores.labelled("mean rank"), texts)] if texts else []
