"""The radar of an evaluation: gains over the best teacher of each axis, or of each task if there are few axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unic.eval.results.row_title import set_of, sets_of
from unic.eval.results.seen import kind_of
from unic.reporting.draw.looks import Looks
from unic.reporting.draw.radar import radar, radar_floor
from unic.reporting.read.scores import Scores

FEWEST = 3  # axes that a radar needs
_MOST = 16  # most tasks that get an axis each
WITHOUT_UNSEEN = "; unseen tasks are left out"

Gains = Mapping[str, float | None]  # by model, in %


def radar_chart(scores: Scores, looks: Looks) -> dict[str, Any] | None:
    """The radar with its legend; None if there is nothing to compare on at least three axes."""
    axis_is, by_axis = gains_by_axis(scores)
    if scores.student is None or len(by_axis) < FEWEST:
        return None
    shapes = {
        name: looks.series(name, [(place, gains.get(name)) for place, gains in enumerate(by_axis.values())])
        for name in [scores.student, *scores.teachers]
    }
    own = shapes.pop(scores.student)
    teachers = [shape for shape in shapes.values() if shape.values]
    floor = radar_floor([own], teachers)
    hidden = any(value < floor for teacher in teachers for value in teacher.values)
    return {
        "svg": radar(list(by_axis), [own], teachers),
        "series": [own, *teachers],
        "floor": f"−{-floor:g}" if hidden else None,
        "axis_is": axis_is + (WITHOUT_UNSEEN if scores.unseen else ""),
    }


def gains_by_axis(scores: Scores) -> tuple[str, dict[str, Gains]]:
    """A definition of an axis, and the gains of the student and of teachers by axis.

    Only seen tasks count. Axes are those of the suite if the student has three of them. Otherwise each task is an axis
    or, if there are many tasks, each set, with the mean over its tasks.
    """
    axes = {
        name: axis.gains for name, axis in scores.results.axes.items() if kind_of(scores.results, axis.tasks) == "seen"
    }
    whole: dict[str, Gains] = {name: gains for name, gains in axes.items() if scores.student in gains}
    if len(whole) >= FEWEST:
        return "a group of tasks", whole
    names = [*([scores.student] if scores.student else []), *scores.teachers]
    by_task: dict[str, Gains] = {
        task: {name: scores.gains[task] if name == scores.student else scores.gain(task, name) for name in names}
        for task in scores.seen
        if scores.best_teacher.get(task) and scores.gains.get(task) is not None
    }
    sets = sets_of(by_task)
    if len(by_task) <= _MOST or len(sets) < FEWEST:
        return "a task", by_task
    return "a set, the mean over its tasks", {name: _mean_of_set(name, by_task, names) for name in sets}


def _mean_of_set(set_name: str, by_task: Mapping[str, Gains], names: Sequence[str]) -> Gains:
    """None for a model that misses one of the tasks."""
    rows = [gains for task, gains in by_task.items() if set_of(task) == set_name]
    values = {name: [gains[name] for gains in rows] for name in names}
    return {name: None if None in row else sum(row) / len(row) for name, row in values.items()}  # type: ignore[arg-type]
