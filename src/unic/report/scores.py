"""results.json as what the page shows: the verdict, the figures beside it, the table, the radar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic.report.charts import Series, radar, radar_floor

_ROLES = {"student": "Student", "teacher": "Teachers", "concat": "All teachers", "other": "Start", "pixels": "Pixels"}
_TEACHER_COLOURS = 6

Colours = Mapping[str, str]


class Scores:
    """Reads results.json leniently: older files have only what the contract names."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.models: Mapping[str, Mapping[str, Any]] = results["models"]
        self.tasks: Mapping[str, Mapping[str, Mapping[str, Any]]] = results["tasks"]
        self.results = results
        ranks = list(_ROLES)
        self.names = sorted(self.models, key=lambda name: ranks.index(self.role(name)))
        self.student = next((name for name in self.names if self.role(name) == "student"), None)
        self.teachers = [name for name in self.models if self.role(name) == "teacher"]
        self.best: dict[str, str] = dict(results.get("best_teacher") or {}) or self._best()
        self.gains: Mapping[str, float] = (results.get("gain_over_best_teacher") or {}) if self.student else {}

    def role(self, name: str) -> str:
        role = str(self.models[name].get("role"))
        return role if role in _ROLES else "other"

    def score(self, task: str, name: str) -> float | None:
        value = self.tasks[task].get(name, {}).get("score")
        return None if value is None else float(value)

    def _best(self) -> dict[str, str]:
        best = {}
        for task in self.tasks:
            known = {name: score for name in self.teachers if (score := self.score(task, name)) is not None}
            if known:
                best[task] = max(known, key=lambda name: known[name])
        return best

    def mean(self, name: str, tasks: list[str] | None = None) -> float | None:
        """Mean score over tasks; None where one of them is missing."""
        values = [self.score(task, name) for task in (tasks or self.tasks)]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None

    def leader(self) -> tuple[str, float] | None:
        """The teacher with the best mean over all tasks."""
        means = {name: mean for name in self.teachers if (mean := self.mean(name)) is not None}
        name = max(means, key=lambda name: means[name], default=None)
        return None if name is None else (name, means[name])

    def single_interval(self) -> list[float] | None:
        """Paired interval of the student's mean score minus that of `leader`, in points, where it was measured."""
        measured, leader = self.results.get("single_teacher") or {}, self.leader()
        return measured.get("difference_ci") if leader and measured.get("name") == leader[0] else None

    def outcome(self, task: str) -> str:
        """`above`, `below` or `level` with the best teacher, by the paired interval; empty where it is not known."""
        interval = (self.results.get("difference_ci") or {}).get(task)
        return "" if not interval else _side(interval)


def colours(student: str | None, teachers: list[str]) -> dict[str, str]:
    """One CSS variable for each model that charts show."""
    named = {name: f"--t{number % _TEACHER_COLOURS}" for number, name in enumerate(teachers)}
    return named | ({student: "--student"} if student else {})


def verdict(scores: Scores) -> str:
    """One sentence."""
    gain, interval = scores.results.get("mean_gain"), scores.results.get("mean_gain_ci")
    if scores.student is None:
        return "No student was measured."
    if not scores.teachers:
        return "No teacher was measured, so there is nothing to compare the student with."
    if gain is None:
        return "Some tasks could not be measured, so there is no mean gain over the best teachers."
    count = f"{len(scores.tasks)} task{'s' if len(scores.tasks) > 1 else ''}"
    shown = f"95 % interval {signed(interval[0])} to {signed(interval[1])} %" if interval else "no interval"
    text = f"The student {_relation(gain, interval)} the best teacher of each task on average: "
    text += f"{signed(gain)} % over {count} ({shown}){_against_single(scores)}."
    return text.replace(" %", "\u00a0%")


def _relation(difference: float, interval: list[float] | None) -> str:
    """Only an interval on one side of 0 says that a model beats another one: without it, only where the scores lie."""
    if interval:
        return {"above": "beats", "below": "stays below", "level": "is level with"}[_side(interval)]
    return "scores above" if difference > 0 else "scores below" if difference < 0 else "equals"


def _against_single(scores: Scores) -> str:
    own, leader = scores.mean(scores.student) if scores.student else None, scores.leader()
    if own is None or leader is None:
        return ""
    interval = scores.single_interval()
    shown = f", difference {signed(interval[0])} to {signed(interval[1])}" if interval else ""
    relation = _relation(own - leader[1], interval)
    return f"; it {relation} the best single teacher, {leader[0]} (mean score {own:.1f} against {leader[1]:.1f}{shown})"


def figures(scores: Scores) -> list[dict[str, str]]:
    """The numbers beside the verdict."""
    shown = []
    gain, interval = scores.results.get("mean_gain"), scores.results.get("mean_gain_ci")
    if gain is not None:
        note = f"{signed(interval[0])} to {signed(interval[1])} %" if interval else "no interval"
        kind = _side(interval) if interval else ""
        shown.append({"label": "Mean gain", "value": f"{signed(gain)} %", "note": note, "kind": kind})
    own, leader = scores.mean(scores.student) if scores.student else None, scores.leader()
    if own is not None:
        note = f"best single teacher {leader[1]:.1f} ({leader[0]})" if leader else "no teacher has all tasks"
        interval = scores.single_interval()
        kind = _side(interval) if interval else ""
        shown.append({"label": "Mean score", "value": f"{own:.1f}", "note": note, "kind": kind})
    sides = [scores.outcome(task) for task in scores.tasks]
    if any(sides):
        note = f"{sides.count('level')} level, {sides.count('below')} below"
        value = f"{sides.count('above')} of {len(sides)}"
        shown.append({"label": "Tasks above the best teacher", "value": value, "note": note, "kind": ""})
    return shown


def table(scores: Scores, colour: Colours) -> dict[str, Any]:
    """Groups of columns, columns, and one row for each task."""
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
    groups = [{"role": role, "label": _ROLES[role], "span": roles.count(role)} for role in dict.fromkeys(roles)]
    gains = bool(scores.student and scores.teachers)
    return {
        "columns": columns,
        "groups": groups,
        "has_gain": gains,
        "rows": [_row(scores, task) for task in scores.tasks],
        "means": _mean_rows(scores),
        "mean_gains": _mean_gains(scores) if gains else None,
    }


def _row(scores: Scores, task: str) -> dict[str, Any]:
    cells = []
    for name in scores.names:
        entry = scores.tasks[task].get(name, {})
        interval = entry.get("ci")
        cells.append(
            {
                "score": _number(entry.get("score")),
                "spread": f"{entry['spread']:.1f}" if entry.get("spread") else "",
                "hint": f"95 % interval {interval[0]:.1f} to {interval[1]:.1f}" if interval else "",
                "error": entry.get("error"),
                "best": name == scores.best.get(task),
                "role": scores.role(name),
            }
        )
    gain, difference = scores.gains.get(task), (scores.results.get("difference_ci") or {}).get(task)
    return {
        "task": task,
        "cells": cells,
        "gain": f"{signed(gain)} %" if gain is not None else "–",
        "difference": f"{signed(difference[0])} to {signed(difference[1])}" if difference else "",
        "outcome": scores.outcome(task),
    }


def _mean_rows(scores: Scores) -> list[dict[str, Any]]:
    """The mean of each kind of task over the sets, then of everything; a single row where both are the same."""
    kinds: dict[str, list[str]] = {}
    for task in scores.tasks:
        kinds.setdefault(task.rpartition("/")[2], []).append(task)
    groups = {f"mean of {kind}": tasks for kind, tasks in kinds.items() if len(kinds) > 1 and len(tasks) > 1}
    if len(scores.tasks) > 1:
        groups["mean of all"] = list(scores.tasks)
    return [
        {
            "label": label,
            "cells": [{"score": _number(scores.mean(name, tasks)), "role": scores.role(name)} for name in scores.names],
        }
        for label, tasks in groups.items()
    ]


def _mean_gains(scores: Scores) -> dict[str, Any]:
    known = dict(scores.results.get("mean_gains") or {})
    own, interval = scores.results.get("mean_gain"), scores.results.get("mean_gain_ci")
    cells = []
    for name in scores.names:
        gain = own if name == scores.student else (known.get(name) or {}).get("gain")
        cells.append({"gain": "" if gain is None else f"{signed(gain)} %", "role": scores.role(name)})
    return {
        "cells": cells,
        "gain": "–" if own is None else f"{signed(own)} %",
        "interval": f"{signed(interval[0])} to {signed(interval[1])} %" if interval else "",
        "outcome": _side(interval) if interval else "",
    }


def radar_chart(scores: Scores, colour: Colours) -> dict[str, Any] | None:
    """The radar with its legend; None if there is nothing to compare on at least three tasks."""
    axes = [task for task in scores.tasks if scores.best.get(task) and scores.gains.get(task) is not None]
    if scores.student is None or len(axes) < 3:
        return None
    own = Series(scores.student, "--student", [(axis, scores.gains[task]) for axis, task in enumerate(axes)])
    teachers = []
    for style, name in enumerate(scores.teachers):
        points = [(axis, _relative(scores, task, name)) for axis, task in enumerate(axes)]
        if any(value is not None for _, value in points):
            teachers.append(Series(name, colour[name], points, style + 1))
    floor = radar_floor(own, teachers)
    hidden = any(value < floor for teacher in teachers for value in teacher.values)
    return {"svg": radar(axes, own, teachers), "series": [own, *teachers], "floor": f"−{-floor:g}" if hidden else None}


def _relative(scores: Scores, task: str, name: str) -> float | None:
    score, best = scores.score(task, name), scores.score(task, scores.best[task])
    return None if score is None or not best else 100 * (score - best) / best


def signed(value: float) -> str:
    """`+1.2` or `−1.2`, with a real minus sign; what rounds to zero has none."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def millions(count: float | None) -> str:
    if not count:
        return ""
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count / 1e3:.1f} k"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _side(interval: list[float]) -> str:
    return "above" if interval[0] > 0 else "below" if interval[1] < 0 else "level"
