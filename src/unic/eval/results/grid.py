"""The table of results as rows and columns of short texts with their marks, which every format prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unic.eval.results.axes import tasks_with_mean
from unic.eval.results.row_title import by_task
from unic.eval.results.schema import Axis, Cell, Difference, Results
from unic.eval.results.scoreboard import Scoreboard
from unic.eval.results.seen import MeanGain, kind_of, labelled, mean_gains, tasks_of
from unic.eval.results.trainings import TRAINING
from unic.eval.results.units import number

RowKind = Literal["task", "difference", "description", "mean", "gain", "axis", "rank"]
_LAST = ("concat", "pixels")  # roles of the last columns, which the user has not named


@dataclass(frozen=True)
class GridCell:
    """A cell of the table.

    Attributes:
        text: the text to print, without marks.
        is_best: True for the best teacher of the task.
        is_win: True if the paired interval says that the student is above that teacher, or a model above the one that
            it is compared with.
        is_failed: True if the cell could not be measured.
        value: the number of the text, unrounded.
        ends: the 95 % interval, "[41.5, 47.9]".
    """

    text: str
    is_best: bool = False
    is_win: bool = False
    is_failed: bool = False
    value: float | None = None
    ends: str = ""


@dataclass(frozen=True)
class GridRow:
    """A row of the table.

    Attributes:
        kind: kind of the row.
        label: name of the row.
        cells: a cell for each model.
        gain: the student's gain.
        unit: unit of a description, which differs from that of the table.
        is_of_task: True for the scores of one task, and for the differences below them.
        is_unseen: True for a task on an unseen set.
    """

    kind: RowKind
    label: str
    cells: list[GridCell]
    gain: GridCell | None = None
    unit: str = ""
    is_of_task: bool = False
    is_unseen: bool = False

    @property
    def title(self) -> str:
        """The label with the unit of a description, and "unseen" for an unseen set."""
        notes = [*([self.unit] if self.unit else []), *(["unseen"] if self.is_unseen else [])]
        return f"{self.label} ({', '.join(notes)})" if notes else self.label


@dataclass(frozen=True)
class TableGrid:
    """The table: a column for each model, and one for gains if a student is compared with teachers.

    Attributes:
        corner: text above the labels of the rows.
        names: names of the models.
        has_gain: True if there is a column of gains.
        rows: the rows.
        compared_with: name of the model to which differences are given.
    """

    corner: str
    names: list[str]
    has_gain: bool
    rows: list[GridRow]
    compared_with: str = ""


def make_grid(results: Results) -> TableGrid:
    """The table with all rows: tasks, the mean of each task over the seen sets, means and gains of axes, mean gains,
    mean rank, descriptions.

    If models are compared with the first one, each row of scores is followed by a row of differences.
    """
    return _Rows(results).grid()


def compared_student(results: Results) -> str | None:
    """The student of the table's column of gains; None without a student or without a teacher."""
    board = Scoreboard.of(results)
    return board.student if board.teachers else None


def model_order(results: Results) -> list[str]:
    """Names of the columns: given models, then models that were added for runs, then the concatenation and pixels.

    Single trainings have no column; their mean has one.
    """
    roles = {name: model.role for name, model in results.models.items() if model.role != TRAINING}
    return sorted(roles, key=lambda name: _LAST.index(roles[name]) + 1 if roles[name] in _LAST else 0)


def is_above(interval: Sequence[float] | None) -> bool:
    return interval is not None and interval[0] > 0


class _Rows:
    """The rows of one table."""

    def __init__(self, results: Results) -> None:
        self._results, self._board = results, Scoreboard.of(results)
        self._names, self._student = model_order(results), compared_student(results)
        self._seen = tasks_of(results, "seen")
        units = {self._board.metric(task).name for task in results.tasks}
        self._corner = units.pop() if len(units) == 1 else "score"

    def grid(self) -> TableGrid:
        results, differences = self._results, self._results.differences
        rows = []
        for task in [*self._seen, *tasks_of(results, "unseen")]:
            rows.append(self._task(task))
            rows += self._difference(differences.tasks.get(task), task, is_of_task=True)
        for kind, tasks in by_task(self._seen).items():
            if len(tasks) > 1:
                rows.append(self._mean(kind, tasks))
                rows += self._difference(differences.means.get(kind), tasks[0])
        rows += [self._mean(axis, tasks) for axis, tasks in tasks_with_mean(results).items()]
        label = labelled("mean difference", results)
        rows += self._difference(differences.mean, next(iter(self._seen), ""), label)
        if self._student:
            rows += [self._axis(name, axis) for name, axis in results.axes.items()]
            rows += [self._mean_gain(mean) for mean in mean_gains(results)]
        if results.ranks:
            ranks = [_number(results.ranks.get(name)) for name in self._names]
            rows.append(GridRow("rank", labelled("mean rank", results), ranks))
        rows += [self._description(task, row) for task, row in results.descriptions.items()]
        return TableGrid(self._corner, self._names, self._student is not None, rows, differences.to)

    def _task(self, task: str) -> GridRow:
        results, metric = self._results, self._board.metric(task)
        cells = []
        for name in self._names:
            is_best = name == self._board.best_teacher.get(task)
            is_win = name == self._student and is_above(results.difference_ci.get(task))
            cells.append(_score(self._board.cell(task, name), metric.name, is_best=is_best, is_win=is_win))
        unit = "" if metric.name == self._corner else f" {metric.name}"
        down = " ↓" if metric.lower_is_better else ""
        own, ends = results.gain_over_best_teacher.get(task), results.gain_ci.get(task)
        gain = _percent(own, ends, wins=False) if self._student else None
        is_unseen = task not in self._seen
        return GridRow("task", f"{task}{unit}{down}", cells, gain, is_of_task=True, is_unseen=is_unseen)

    def _difference(
        self, row: Mapping[str, Difference] | None, task: str, label: str = "difference", *, is_of_task: bool = False
    ) -> list[GridRow]:
        """A row of differences to the first model, in the measure of `task`; none where nothing was compared."""
        if not row:
            return []
        unit, sign = self._board.metric(task).name, self._board.sign(task)
        cells = []
        for name in self._names:
            entry = row.get(name)
            if entry is None:
                cells.append(GridCell(""))
                continue
            wins = min(sign * end for end in entry.ci) > 0
            text, ends = number(entry.difference, unit, "+"), _ends(entry.ci, unit, signed=True)
            cells.append(GridCell(text, is_win=wins, value=float(entry.difference), ends=ends))
        return [GridRow("difference", label, cells, is_of_task=is_of_task)]

    def _mean(self, kind: str, tasks: Sequence[str]) -> GridRow:
        """Mean over tasks; an empty cell for a model without all scores."""
        means = [_number(self._board.mean(name, tasks)) for name in self._names]
        return GridRow("mean", labelled(f"mean {kind}", self._results, kind_of(self._results, tasks)), means)

    def _axis(self, name: str, axis: Axis) -> GridRow:
        cells = [
            _percent(axis.gains.get(model)) if model != axis.best_teacher else GridCell("±0.0", True, value=0.0)
            for model in self._names
        ]
        label = f"{labelled(name, self._results, kind_of(self._results, axis.tasks))}, gain %"
        return GridRow("axis", label, cells, _percent(axis.gain, axis.ci))

    def _mean_gain(self, mean: MeanGain) -> GridRow:
        """The mean gain of each model. The student's is in the column of gains too, with its interval."""
        cells = [_percent(mean.gains.get(name)) for name in self._names]
        return GridRow("gain", mean.label, cells, _percent(mean.gain, mean.ci))

    def _description(self, task: str, row: Mapping[str, Cell]) -> GridRow:
        metric = self._results.measures.get(task)
        unit = metric.name if metric else ""
        cells = [_score(row.get(name, Cell()), unit) for name in self._names]
        return GridRow("description", task, cells, unit=unit, is_unseen=task in self._results.unseen)


def _score(cell: Cell, unit: str, *, is_best: bool = False, is_win: bool = False) -> GridCell:
    if cell.score is None:
        return GridCell("–") if cell.error is None else GridCell("failed", is_failed=True)
    return GridCell(number(cell.score, unit), is_best, is_win, value=cell.score, ends=_ends(cell.ci, unit))


def _ends(interval: Sequence[float] | None, measure: str, *, signed: bool = False) -> str:
    """The text of an interval; empty without one."""
    if not interval:
        return ""
    return f"[{', '.join(number(end, measure, '+' if signed else '') for end in interval)}]"


def _number(value: float | None) -> GridCell:
    return GridCell("–") if value is None else GridCell(f"{value:.1f}", value=value)


def _percent(value: float | None, interval: Sequence[float] | None = None, *, wins: bool | None = None) -> GridCell:
    if value is None:
        return GridCell("")
    is_win = is_above(interval) if wins is None else wins
    return GridCell(f"{value:+.1f}", is_win=is_win, value=value, ends=_ends(interval, "%", signed=True))
