"""Charts of single tasks: every model's score with its interval, grouped by probe."""

from __future__ import annotations

from typing import Any

from unic.eval.results.row_title import by_task, set_of
from unic.reporting.draw.dots import Dot, dot_chart
from unic.reporting.draw.looks import Looks
from unic.reporting.read.scores import Scores, shown

_OPEN = 12  # panels that are shown; the groups after them are folded


def task_groups(scores: Scores, looks: Looks) -> dict[str, Any]:
    """`groups` of panels, each with a `title`."""
    kinds = by_task(scores.tasks)
    single = [tasks[0] for tasks in kinds.values() if len(tasks) == 1]
    named = {kind: tasks for kind, tasks in kinds.items() if len(tasks) > 1}
    if single:
        named["further tasks" if named else ""] = single
    groups, num_before = [], 0
    for title, tasks in named.items():
        panels = [_panel(scores, task, looks, is_full=tasks is single) for task in tasks]
        panels = [panel for panel in panels if panel]
        groups.append({"title": title, "panels": panels, "open": num_before < _OPEN})
        num_before += len(panels)
    return {"groups": [group for group in groups if group["panels"]]}


def _panel(scores: Scores, task: str, looks: Looks, *, is_full: bool) -> dict[str, Any] | None:
    unit = scores.unit(task)
    dots = []
    for name in scores.names:
        score = scores.score(task, name)
        if score is not None:
            kind = "to-beat" if name == scores.best_teacher.get(task) else scores.role(name)
            dots.append(Dot(looks.series(name), score, shown(score, unit), kind, scores.cell(task, name).ci))
    if not dots:
        return None
    title = task if is_full else set_of(task)
    unit_text = f"{unit}, lower is better" if scores.lower_is_better(task) else unit
    return {"title": title, "unit": unit_text, "svg": dot_chart(task, dots)}
