"""The table of several runs: the students' scores by task, their means and mean gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unic.eval.results.seen import Kind
from unic.reporting.read.scores import shown, side, span, told
from unic.reporting.several.students import Compared


def compared_table(compared: Compared) -> dict[str, Any] | None:
    """Rows of tasks, the mean over common tasks, mean gains; None if no student was measured."""
    if not compared.tasks:
        return None
    units = {compared.unit(task) for task in compared.tasks}
    rows = [_row(compared, task, is_shared=len(units) == 1) for task in compared.tasks]
    tasks = compared.mean_tasks()
    foot = [_mean_row(compared, tasks)] if len(tasks) > 1 else []
    for kind in compared.kinds:
        gains = [_gain(compared, index, kind) for index in range(len(compared.names))]
        if any(cell["text"] for cell in gains):
            label = _labelled(compared, "mean gain", kind)
            foot.append({"label": label, "unit": "over each run's best teachers", "cells": gains})
    return {"rows": rows, "foot": foot, "unit": units.pop() if len(units) == 1 else None}


def _row(compared: Compared, task: str, *, is_shared: bool) -> dict[str, Any]:
    unit, leader = compared.unit(task), compared.leader(task)
    down = " ↓" if compared.lower_is_better(task) else ""
    cells = []
    for index in range(len(compared.names)):
        known = compared.cell(task, index)
        ends = [shown(end, unit) for end in known.ci or ()]
        error = known.error or ""
        cells.append(
            _cell(
                "failed" if error else shown(known.score, unit), f"{ends[0]} to {ends[1]}" if ends else "",
                compared.to_first([task], index), hint=error, is_leader=index == leader,
            )
        )  # fmt: skip
    notes = [f"{'' if is_shared else unit}{down}".strip(), "unseen" if compared.is_unseen(task) else ""]
    return {"label": task, "unit": ", ".join(filter(None, notes)), "cells": cells}


def _mean_row(compared: Compared, tasks: Sequence[str]) -> dict[str, Any]:
    means, unit = compared.means(tasks), compared.unit(tasks[0])
    indices = range(len(compared.names))
    cells = [_cell(shown(means.get(index), unit), "", compared.to_first(tasks, index)) for index in indices]
    label = _labelled(compared, "mean score", "seen")
    return {"label": label, "unit": f"{unit}, {len(tasks)} common tasks", "cells": cells}


def _labelled(compared: Compared, label: str, kind: Kind) -> str:
    return f"{label} ({kind})" if len(compared.kinds) > 1 else label


def _gain(compared: Compared, index: int, kind: Kind) -> dict[str, Any]:
    mean = compared.mean_gain(index, kind)
    return _cell(*told(mean)) if mean else _cell("", "")


def _cell(
    text: str, ends: str, difference: Sequence[float] | None = None, *, hint: str = "", is_leader: bool = False
) -> dict[str, Any]:
    shown_difference = {"text": span(difference), "outcome": side(difference)} if difference else None
    return {"text": text, "ends": ends, "difference": shown_difference, "hint": hint, "is_leader": is_leader}
