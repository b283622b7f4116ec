"""Scores of all models by task, and quantities derived from them: signs, best teachers, means and gains.

The summary of an evaluation, its table and its pages all use these, so that they agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from unic.eval.results.schema import Cell, Metric, Results, Role
from unic.runs.metric_names import TOP1

Key = TypeVar("Key")
_TOP1 = Metric(name=TOP1)


def best_of(values: Mapping[Key, float], *, lower_is_better: bool) -> Key | None:
    """The key with the best value, the first of equal ones; None for an empty mapping."""
    return (min if lower_is_better else max)(values, key=lambda key: values[key], default=None)


class Scoreboard:
    """The compared tasks of an evaluation.

    Args:
        tasks: cells by task, then by model.
        roles: roles by model.
        measures: measures by task; default: top-1 in percent.
        best_teacher: best teachers by task, if they are known; default: the teachers with the best scores above 0, as
            no gain is relative to 0.

    Attributes:
        scores: scores by task and model, for cells that have one.
        student: the first student; None without one.
        teachers: names of all teachers.
    """

    def __init__(
        self,
        tasks: Mapping[str, Mapping[str, Cell]],
        roles: Mapping[str, Role],
        measures: Mapping[str, Metric],
        best_teacher: Mapping[str, str] | None = None,
    ) -> None:
        cells = {(task, name): cell for task, row in tasks.items() for name, cell in row.items()}
        self.scores = {key: cell.score for key, cell in cells.items() if cell.score is not None}
        self.tasks, self.roles, self._measures = tasks, roles, measures
        self.student = next((name for name, role in roles.items() if role == "student"), None)
        self.teachers = [name for name, role in roles.items() if role == "teacher"]
        self.best_teacher: dict[str, str] = dict(best_teacher or {}) or {
            task: best for task in tasks if (best := self._best(task))
        }

    @classmethod
    def of(cls, results: Results) -> Scoreboard:
        roles = {name: model.role for name, model in results.models.items()}
        return cls(results.tasks, roles, results.measures, results.best_teacher)

    def _best(self, task: str) -> str | None:
        known = {name: score for name in self.teachers if (score := self.scores.get((task, name), 0)) > 0}
        return best_of(known, lower_is_better=self.metric(task).lower_is_better)

    def metric(self, task: str) -> Metric:
        return self._measures.get(task, _TOP1)

    def cell(self, task: str, name: str | None) -> Cell:
        """The cell of a model on a task; an empty cell if there is none."""
        return self.tasks.get(task, {}).get(name or "", Cell())

    def score(self, task: str, name: str | None) -> float | None:
        return self.scores.get((task, name or ""))

    def sign(self, task: str) -> int:
        """The sign that makes larger values better: 1, or -1 for an error."""
        return -1 if self.metric(task).lower_is_better else 1

    def difference(self, task: str, own: Any, other: Any) -> Any:
        """The advantage of `own` over `other` in the unit of the measure, for numbers or arrays."""
        return self.sign(task) * (own - other)

    def relative_gain(self, task: str, own: Any, other: Any) -> Any:
        """The advantage in percent of `other`; NaN where `other` is 0, as in a resample without a hit."""
        return self.sign(task) * 100 * (own - other) / np.where(other > 0, other, np.nan)

    def gain(self, task: str, name: str) -> float | None:
        """Gain over the best teacher of the task in percent; None if either score is missing."""
        own, best = self.score(task, name), self.score(task, self.best_teacher.get(task))
        return None if own is None or not best else float(self.relative_gain(task, own, best))

    def has_all(self, name: str, tasks: Sequence[str]) -> bool:
        """Whether a model has a score on each of the tasks."""
        return all((task, name) in self.scores for task in tasks)

    def mean(self, name: str | None, tasks: Sequence[str]) -> float | None:
        """Mean score over tasks of one measure; None for no task or if a score is missing."""
        if name is None or not tasks or not self.has_all(name, tasks):
            return None
        return float(np.mean([self.scores[task, name] for task in tasks]))

    def best_single_teacher(self, tasks: Sequence[str]) -> str | None:
        """The teacher with the best mean over tasks of one measure, among those that have scores on all of them."""
        means = {name: mean for name in self.teachers if (mean := self.mean(name, tasks)) is not None}
        return best_of(means, lower_is_better=bool(means) and self.metric(tasks[0]).lower_is_better)
