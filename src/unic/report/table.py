"""The table of scores: a row for each task, then means, axes, the mean gain and the mean rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic.report.roles import group_label
from unic.report.scores import Scores, millions, shown, side, signed, span


def table(scores: Scores, colour: Mapping[str, str]) -> dict[str, Any]:
    """Groups of columns, columns, rows of tasks and rows at the foot."""
    columns = [
        {
            "name": name,
            "role": scores.role(name),
            "uri": str(scores.models[name].get("uri") or ""),
            "colour": colour.get(name),
            "size": millions(scores.models[name].get("num_parameters")),
        }
        for name in scores.names
    ]
    roles = [str(column["role"]) for column in columns]
    has_gain = bool(scores.student and scores.teachers)
    foot = _mean_rows(scores)
    if has_gain:
        foot += [*_axis_rows(scores), _mean_gains(scores)]
    return {
        "columns": columns,
        "groups": [
            {"role": role, "label": group_label(scores, role), "span": roles.count(role)}
            for role in dict.fromkeys(roles)
        ],
        "unit": scores.unit(scores.comparable()[0]),
        "is_mixed": scores.shared_unit is None,
        "has_gain": has_gain,
        "rows": [_row(scores, task) for task in scores.tasks],
        "foot": foot + _rank_rows(scores),
    }


def _row(scores: Scores, task: str) -> dict[str, Any]:
    unit, gain, difference = scores.unit(task), scores.gains.get(task), scores.interval(task)
    down = " ↓" if scores.lower_is_better(task) else ""
    return {
        "task": task,
        "unit": f"{'' if unit == scores.unit(scores.comparable()[0]) else unit}{down}".strip(),
        "cells": [_cell(scores, task, name, unit) for name in scores.names],
        "gain": _gain(gain, difference, unit) if gain is not None else None,
    }


def _cell(scores: Scores, task: str, name: str, unit: str) -> dict[str, Any]:
    entry = scores.tasks[task].get(name, {})
    interval = entry.get("ci")
    spread = entry.get("training_spread") if "training_spread" in entry else entry.get("spread")
    ends = [shown(end, unit) for end in interval or ()]
    return {
        "text": shown(entry.get("score"), unit),
        "spread": shown(spread, unit) if spread else "",
        "hint": f"95 % interval {ends[0]} to {ends[1]}" if interval else "",
        "error": entry.get("error"),
        "is_best": name == scores.best.get(task),
        "role": scores.role(name),
    }


def _gain(gain: float, interval: list[float] | None, unit: str = "%", after: str = "") -> dict[str, str]:
    ends = f"{span(interval, unit)}{after}" if interval else ""
    return {"text": f"{signed(gain)} %", "ends": ends, "outcome": side(interval) if interval else ""}


def _foot(scores: Scores, label: str, texts: Mapping[str, str], best: str | None = None, **more: Any) -> dict[str, Any]:
    cells = [{"text": texts.get(name, ""), "role": scores.role(name), "is_best": name == best} for name in scores.names]
    return {"label": label, "cells": cells, "gain": None, **more}


def _mean_rows(scores: Scores) -> list[dict[str, Any]]:
    """The mean of each kind of task over the sets, then of each measure; a single row where both are the same."""
    kinds: dict[str, list[str]] = {}
    units: dict[str, list[str]] = {}
    for task in scores.tasks:
        kinds.setdefault(task.rpartition("/")[2], []).append(task)
        units.setdefault(scores.unit(task), []).append(task)
    groups = {
        f"mean of {kind}": tasks
        for kind, tasks in kinds.items()
        if len(kinds) > 1 and len(tasks) > 1 and len({scores.unit(task) for task in tasks}) == 1
    }
    known = list(groups.values())
    whole = {"mean of all" if len(units) == 1 else f"mean of {unit}": tasks for unit, tasks in units.items()}
    groups |= {label: tasks for label, tasks in whole.items() if len(tasks) > 1 and tasks not in known}
    return [
        _foot(scores, label, {name: shown(scores.mean(name, tasks), scores.unit(tasks[0])) for name in scores.names})
        for label, tasks in groups.items()
    ]


def _axis_rows(scores: Scores) -> list[dict[str, Any]]:
    """Gain of every model over the best teacher of each axis."""
    rows = []
    for axis, entry in (scores.results.get("axes") or {}).items():
        best, gain, gains = entry.get("best_teacher"), entry.get("gain"), entry.get("gains") or {}
        texts = {name: "0.0 %" if name == best else f"{signed(value)} %" for name, value in gains.items()}
        own = None if gain is None else _gain(gain, entry.get("ci"), after=" %")
        rows.append(_foot(scores, f"{axis}, gain", texts, best, gain=own))
    return rows


def _mean_gains(scores: Scores) -> dict[str, Any]:
    known = scores.results.get("mean_gains") or {}
    own, interval = scores.results.get("mean_gain"), scores.results.get("mean_gain_ci")
    gains = {name: own if name == scores.student else (known.get(name) or {}).get("gain") for name in scores.names}
    texts = {name: "" if gain is None else f"{signed(gain)} %" for name, gain in gains.items()}
    return _foot(scores, "mean gain", texts, gain=None if own is None else _gain(own, interval, after=" %"))


def _rank_rows(scores: Scores) -> list[dict[str, Any]]:
    ranks = scores.results.get("ranks") or {}
    return [_foot(scores, "mean rank", {name: f"{rank:.1f}" for name, rank in ranks.items()})] if ranks else []
