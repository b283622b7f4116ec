"""Titles of rows, `SET/TASK`: the names of tasks in results.json, for example `clipart/knn`.

The first slash ends the name of the set, which has none. An entry of a suite may have slashes in its name.
"""

from __future__ import annotations

from collections.abc import Iterable


def set_of(title: str) -> str:
    return title.partition("/")[0]


def task_of(title: str) -> str:
    return title.partition("/")[2]


def sets_of(titles: Iterable[str]) -> list[str]:
    """Each set once, in the order of the titles."""
    return list(dict.fromkeys(map(set_of, titles)))


def by_task(titles: Iterable[str]) -> dict[str, list[str]]:
    """The titles of each task, which differ in their sets."""
    found: dict[str, list[str]] = {}
    for title in titles:
        found.setdefault(task_of(title), []).append(title)
    return found
