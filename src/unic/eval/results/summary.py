"""From cells to results.json: gains over the best teacher, means, axes and ranks, with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from jaxtyping import Float

from unic.eval.outcome import TOP1, Measure
from unic.eval.results.bootstrap import Sample, mean_difference
from unic.eval.results.rivals import Rivals, interval_over_best
from unic.eval.results.row_title import by_task
from unic.eval.results.schema import (
    VERSION,
    Axis,
    Difference,
    Differences,
    Gain,
    Interval,
    Metric,
    ModelEntry,
    Results,
    SingleTeacher,
)
from unic.eval.results.scoreboard import Scoreboard
from unic.eval.results.scored import Outcomes, cells_of
from unic.eval.results.trainings import TRAINING, Trainings
from unic.eval.results.units import is_percentage


def summarise(
    outcomes: Outcomes,
    models: Mapping[str, ModelEntry],
    measures: Mapping[str, Measure] | None = None,
    axes: Mapping[str, Sequence[str]] | None = None,
    unseen: Collection[str] = (),
    trainings: Trainings | None = None,
) -> Results:
    """The measured part of results.json: everything except the protocol, the duration and the influence in training.

    The gain of a model with score `s` on a task is `100 · (s − b) / b`, where `b` is the score of the best single
    teacher of that task on all test images. Its sign is reversed for errors, so that more is always better. An interval
    is that of the gain over the teacher that is truly the best, as the one that scores best may only be the luckiest,
    see `unic.eval.results.rivals`.

    Args:
        outcomes: outcomes by task, then by model.
        models: entries of the models; their roles decide which ones are compared.
        measures: measures by task; default: top-1.
        axes: patterns of tasks by the name of the axis.
        unseen: tasks on unseen sets.
        trainings: models that are the mean of others, which have the role `TRAINING`, see
            `unic.eval.results.trainings`.

    Returns:
        The results; `Results` documents each key. A mean is null if a task is missing. Means and ranks count the seen
        tasks, except those with `unseen` in their name; for axes see `_counted`.
    """
    measures = {task: (measures or {}).get(task, TOP1) for task in outcomes}
    cells, samples = cells_of(outcomes, measures, trainings or {})
    compared = [task for task in outcomes if measures[task].is_score]
    metrics = {task: _metric(measure) for task, measure in measures.items()}
    roles = {name: model.role for name, model in models.items()}
    board = Scoreboard({task: cells[task] for task in compared}, roles, metrics)
    table, student = _Table(board, samples), board.student or ""
    seen = [task for task in compared if task not in unseen]
    rest = [task for task in compared if task in unseen]
    gains = {name: table.gains(name) for name, role in roles.items() if role != "teacher" and board.best_teacher}
    mean_gains, mean_gains_unseen = ({name: table.mean_gain(name, part) for name in gains} for part in (seen, rest))
    own = gains.get(student, {})
    mean, mean_unseen = (means.get(student, Gain()) for means in (mean_gains, mean_gains_unseen))
    return Results(
        version=VERSION,
        models=dict(models),
        tasks={task: cells[task] for task in compared},
        descriptions={task: row for task, row in cells.items() if task not in compared},
        measures=metrics,
        unseen=[task for task in outcomes if task in unseen],
        best_teacher=board.best_teacher,
        gain_over_best_teacher=own,
        gain_ci={task: table.gain_interval(task, student) for task in own},
        mean_gain=mean.gain,
        difference_ci={task: table.difference_interval(task, student) for task in own},
        mean_gain_ci=mean.ci,
        mean_gain_unseen=mean_unseen.gain,
        mean_gain_unseen_ci=mean_unseen.ci,
        single_teacher=table.against_single_teacher(seen, student),
        gains=gains,
        mean_gains=mean_gains,
        mean_gains_unseen=mean_gains_unseen,
        axes=table.axes(axes or {}, student, unseen),
        ranks=table.ranks(seen),
        differences=table.differences(compared, seen),
    )


def _metric(measure: Measure) -> Metric:
    return Metric(name=measure.name, lower_is_better=measure.lower_is_better)


class _Table:
    """Gains, means, axes, ranks and differences with their intervals."""

    def __init__(self, board: Scoreboard, samples: Mapping[tuple[str, str], Sample]) -> None:
        self._board, self._samples = board, samples

    def _rivals(self, name: str, tasks: Sequence[str], compare: Callable[[str, Any, Any], Any]) -> Rivals:
        """Advantages of `name`, in the mean over tasks, over each teacher that has scores on all of them.

        In relative comparisons a teacher with a score of 0 is no rival.
        """
        teachers = [one for one in self._board.teachers if self._board.has_all(one, tasks)]

        def advantages(values: Mapping[tuple[str, str], Any]) -> Float[np.ndarray, "m ..."]:
            return np.array([self._mean(tasks, values, name, one, compare) for one in teachers])

        measured = advantages(self._board.scores)
        is_defined = np.isfinite(measured)
        return Rivals(measured[is_defined], advantages(self._samples)[is_defined])

    def _mean(
        self,
        tasks: Sequence[str],
        values: Mapping[tuple[str, str], Any],
        name: str,
        other: str,
        compare: Callable[[str, Any, Any], Any],
    ) -> Any:
        return np.mean([compare(task, values[task, name], values[task, other]) for task in tasks], axis=0)

    def difference_interval(self, task: str, name: str) -> Interval:
        """Interval of the advantage of `name` over the best teacher, in units of the measure."""
        return interval_over_best([self._rivals(name, [task], self._board.difference)])

    def gain_interval(self, task: str, name: str) -> Interval:
        """Interval of the advantage of `name` over the best teacher, in percent of its score."""
        return interval_over_best([self._rivals(name, [task], self._board.relative_gain)])

    def gains(self, name: str) -> dict[str, float]:
        found = {task: self._board.gain(task, name) for task in self._board.best_teacher}
        return {task: gain for task, gain in found.items() if gain is not None}

    def mean_gain(self, name: str, tasks: Sequence[str]) -> Gain:
        """Mean gain over `tasks` and its interval; both are None if a task is missing."""
        gains = self.gains(name)
        if not tasks or not set(tasks) <= set(gains):
            return Gain(gain=None, ci=None)
        rivals = [self._rivals(name, [task], self._board.relative_gain) for task in tasks]
        return Gain(gain=float(np.mean([gains[task] for task in tasks])), ci=interval_over_best(rivals))

    def against_single_teacher(self, tasks: Sequence[str], student: str) -> SingleTeacher | None:
        """Mean score of the student and of the one teacher with the highest mean, over the tasks in percent."""
        board = self._board
        tasks = [task for task in tasks if board.sign(task) > 0 and is_percentage(board.metric(task).name)]
        own, best = board.mean(student, tasks), board.best_single_teacher(tasks)
        theirs = board.mean(best, tasks)
        if own is None or best is None or theirs is None:
            return None
        return SingleTeacher(
            name=best,
            score=round(theirs, 3),
            student=round(own, 3),
            difference_ci=interval_over_best([self._rivals(student, tasks, board.difference)]),
        )

    def differences(self, tasks: Sequence[str], seen: Sequence[str]) -> Differences:
        """Differences of models to the first of them, in units of the measure, with paired intervals.

        Students are compared if there are teachers, else all models. A mean needs tasks with the same measure, on all
        of which both models have scores.

        Args:
            tasks: the compared tasks.
            seen: the tasks that count in means.

        Returns:
            The differences; empty if there are not two models to compare.
        """
        roles = self._board.roles
        wanted = ("student",) if self._board.teachers else tuple(roles.values())
        first, *others = [name for name, role in roles.items() if role in wanted and role != TRAINING] or [""]
        if not others:
            return Differences()
        kinds = by_task(seen)

        def row(tasks: Sequence[str]) -> dict[str, Difference]:
            is_one = len({self._board.metric(task).name for task in tasks}) == 1
            found = {name: self._difference_to(first, name, tasks) for name in others} if is_one else {}
            return {name: entry for name, entry in found.items() if entry}

        return Differences(
            to=first,
            tasks={task: row([task]) for task in tasks},
            means={kind: row(found) for kind, found in kinds.items() if len(found) > 1},
            mean=row(seen) if len(kinds) > 1 else {},
        )

    def _difference_to(self, first: str, name: str, tasks: Sequence[str]) -> Difference | None:
        if not all(self._board.has_all(one, tasks) for one in (first, name)):
            return None
        scores = self._board.scores
        own, other = ([self._samples[task, one] for task in tasks] for one in (name, first))
        mean = np.mean([scores[task, name] - scores[task, first] for task in tasks])
        return Difference(difference=round(float(mean), 3), ci=mean_difference(own, other))

    def axes(self, axes: Mapping[str, Sequence[str]], student: str, unseen: Collection[str]) -> dict[str, Axis]:
        """Mean scores over the tasks of each axis, and with teachers gains relative to the best teacher of the axis.

        The best teacher of an axis has the highest mean gain over the best teachers of the axis' tasks.
        """
        board, found = self._board, dict[str, Axis]()
        for axis, patterns in axes.items():
            tasks = _counted(patterns, list(board.best_teacher if board.teachers else board.tasks), unseen)
            whole = [name for name in board.roles if board.has_all(name, tasks)]
            scores = {name: float(np.mean([board.scores[task, name] for task in tasks])) for name in whole if tasks}
            if scores and not board.teachers:
                found[axis] = Axis(tasks=tasks, scores=scores)
            # No gain is relative to a score of 0.
            teachers = [name for name in board.teachers if all(board.scores.get((task, name), 0) > 0 for task in tasks)]
            if not tasks or not teachers:
                continue
            means = {name: float(np.mean([self.gains(name)[task] for task in tasks])) for name in teachers}
            best = max(teachers, key=lambda name: means[name])
            gains = {name: float(self._mean(tasks, board.scores, name, best, board.relative_gain)) for name in whole}
            rivals = self._rivals(student, tasks, board.relative_gain) if student in whole else None
            found[axis] = Axis(
                tasks=tasks,
                scores=scores,
                best_teacher=best,
                gains=gains,
                gain=gains.get(student),
                ci=interval_over_best([rivals]) if rivals else None,
            )
        return found

    def ranks(self, tasks: Sequence[str]) -> dict[str, float]:
        """Mean rank of every model with scores on all tasks; 1 is the best, and equal scores get their mean rank."""
        from scipy.stats import rankdata

        board = self._board
        ranked = [name for name, role in board.roles.items() if role != TRAINING]
        whole = [name for name in ranked if tasks and board.has_all(name, tasks)]
        if len(whole) < 2:
            return {}
        ranks = [rankdata([-board.sign(task) * board.scores[task, name] for name in whole]) for task in tasks]
        return {name: round(float(mean), 2) for name, mean in zip(whole, np.mean(ranks, axis=0), strict=True)}


def _counted(patterns: Sequence[str], tasks: Sequence[str], unseen: Collection[str]) -> list[str]:
    """The tasks of an axis: the seen tasks that match a pattern, or the unseen ones if no seen task matches."""
    named = [task for task in tasks if any(fnmatchcase(task, pattern) for pattern in patterns)]
    return [task for task in named if task not in unseen] or named
