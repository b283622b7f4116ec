"""Axes as tables and pages show them: the tasks of each, and the mean scores that no other row has."""

from __future__ import annotations

from collections.abc import Sequence

from unic.eval.results.row_title import by_task, set_of
from unic.eval.results.schema import Results
from unic.eval.results.scoreboard import Scoreboard
from unic.eval.results.seen import tasks_of


def members(tasks: Sequence[str]) -> str:
    """The tasks of an axis in short, by their names: "inat2018, inat2019 (longtail); cars, pets (logistic)"."""
    return "; ".join(f"{', '.join(map(set_of, found))} ({name})" for name, found in by_task(tasks).items())


def members_by_axis(results: Results) -> dict[str, str]:
    """The tasks of every axis in short, by its name and, if there are several, their number."""
    return {
        f"{name} ({len(axis.tasks)} tasks)" if len(axis.tasks) > 1 else name: members(axis.tasks)
        for name, axis in results.axes.items()
        if axis.tasks
    }


def tasks_with_mean(results: Results) -> dict[str, list[str]]:
    """The tasks of each axis whose mean score says something new, by the name of the axis.

    These are axes of several tasks with one measure, which are not all sets of one task: those have their mean already.
    """
    board = Scoreboard.of(results)
    of_one_task = [set(tasks) for tasks in by_task(tasks_of(results, "seen")).values()]
    return {
        name: axis.tasks
        for name, axis in results.axes.items()
        if len(axis.tasks) > 1
        and len({board.metric(task).name for task in axis.tasks}) == 1
        and set(axis.tasks) not in of_one_task
    }
