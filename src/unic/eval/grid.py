"""results.json as rows and columns of short texts with their marks: what every format of the table prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from unic.eval.seen import MeanGain, kind_of, labelled, mean_gains, tasks_of
from unic.eval.trainings import TRAINING

RowKind = Literal["task", "difference", "description", "mean", "gain", "axis", "rank"]
_LAST = ("concat", "pixels")  # roles of columns that nobody has named


@dataclass(frozen=True)
class GridCell:
    """Attributes:
    is_best: the best teacher of the task.
    is_win: the student above that teacher, or a model above the one it is compared with, by the paired interval of
        their difference.
    ends: of the 95 % interval, "[41.5, 47.9]".
    value: the number behind the text.
    """

    text: str
    is_best: bool = False
    is_win: bool = False
    is_failed: bool = False
    value: float | None = None
    ends: str = ""


@dataclass(frozen=True)
class GridRow:
    """Attributes:
    unit: of a description, which is not that of the table.
    is_of_task: it has the scores of one task, or what stands beneath them.
    is_unseen: of a task on images that are no source of training.
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
        """The label with what a reader of this row alone must know."""
        notes = [*([self.unit] if self.unit else []), *(["unseen"] if self.is_unseen else [])]
        return f"{self.label} ({', '.join(notes)})" if notes else self.label


@dataclass(frozen=True)
class Grid:
    """The table: a corner, a column for each model, and one of gains where a student is compared with teachers.

    Attributes:
        compared_with: the model that differences are to.
    """

    corner: str
    names: list[str]
    has_gain: bool
    rows: list[GridRow]
    compared_with: str = ""


def make_grid(results: Mapping[str, Any]) -> Grid:
    """All rows: tasks, the mean of each task over the seen sets, axes, mean gains, mean rank, descriptions.

    Where models are compared with the first one, a row beneath that of the scores has the differences.
    """
    names, student = model_order(results), compared_student(results)
    measures = {task: measure["name"] for task, measure in results.get("measures", {}).items()}
    shared = {measures.get(task, "top-1 %") for task in results["tasks"]}
    corner = shared.pop() if len(shared) == 1 else "score"
    differences, seen = results.get("differences") or {}, tasks_of(results, "seen")
    rows = []
    for task in [*seen, *tasks_of(results, "unseen")]:
        rows.append(_task_row(results, task, names, student, corner, is_unseen=task not in seen))
        rows += _difference_row(results, differences.get("tasks", {}).get(task), names, task, is_of_task=True)
    for kind, row in _mean_rows(results, names):
        rows.append(row)
        rows += _difference_row(results, differences.get("means", {}).get(kind), names, _first_of(results, kind))
    rows += _difference_row(
        results, differences.get("mean"), names, next(iter(seen), ""), labelled("mean difference", results)
    )
    if student:
        rows += [_axis_row(results, axis, entry, names) for axis, entry in results.get("axes", {}).items()]
        rows += [_mean_gain_row(mean, names) for mean in mean_gains(results)]
    if results.get("ranks"):
        ranks = [_number(results["ranks"].get(name)) for name in names]
        rows.append(GridRow("rank", labelled("mean rank", results), ranks))
    for task, row in results.get("descriptions", {}).items():
        unit = measures.get(task, "")
        cells = [_score(row.get(name, {}), unit) for name in names]
        rows.append(GridRow("description", task, cells, unit=unit, is_unseen=task in results.get("unseen", ())))
    return Grid(corner, names, student is not None, rows, differences.get("to", ""))


def compared_student(results: Mapping[str, Any]) -> str | None:
    """The model whose gains are the table's; None without one or without a teacher to compare it with."""
    roles = {name: model["role"] for name, model in results["models"].items()}
    student = next((name for name, role in roles.items() if role == "student"), None)
    return student if "teacher" in roles.values() else None


def model_order(results: Mapping[str, Any]) -> list[str]:
    """As they were named, then what their runs bring, run by run; last what nobody has named.

    Single trainings have no column: the mean of them has.
    """
    roles = {name: model["role"] for name, model in results["models"].items() if model["role"] != TRAINING}
    return sorted(roles, key=lambda name: _LAST.index(roles[name]) + 1 if roles[name] in _LAST else 0)


def is_above(interval: Sequence[float] | None) -> bool:
    return interval is not None and interval[0] > 0


def _task_row(
    results: Mapping[str, Any], task: str, names: list[str], student: str | None, corner: str, *, is_unseen: bool
) -> GridRow:
    measure = results.get("measures", {}).get(task, {"name": "top-1 %", "lower_is_better": False})
    cells = []
    for name in names:
        is_best = name == results.get("best_teacher", {}).get(task)
        is_win = name == student and is_above(results.get("difference_ci", {}).get(task))
        cells.append(_score(results["tasks"][task].get(name, {}), measure["name"], is_best=is_best, is_win=is_win))
    unit = "" if measure["name"] == corner else f" {measure['name']}"
    down = " ↓" if measure["lower_is_better"] else ""
    ends = results.get("gain_ci", {}).get(task)
    gain = _percent(results["gain_over_best_teacher"].get(task), ends, wins=False) if student else None
    return GridRow("task", f"{task}{unit}{down}", cells, gain, is_of_task=True, is_unseen=is_unseen)


def _difference_row(
    results: Mapping[str, Any],
    row: Mapping[str, Any] | None,
    names: list[str],
    task: str,
    label: str = "difference",
    *,
    is_of_task: bool = False,
) -> list[GridRow]:
    """A row of differences to the first model, in the measure of `task`; none where nothing was compared."""
    if not row:
        return []
    measure = results.get("measures", {}).get(task, {"name": "top-1 %", "lower_is_better": False})
    sign = -1 if measure["lower_is_better"] else 1
    cells = []
    for name in names:
        entry = row.get(name)
        if entry is None:
            cells.append(GridCell(""))
            continue
        wins = min(sign * end for end in entry["ci"]) > 0
        text, ends = _signed(entry["difference"], measure["name"]), _ends(entry["ci"], measure["name"], signed=True)
        cells.append(GridCell(text, is_win=wins, value=float(entry["difference"]), ends=ends))
    return [GridRow("difference", label, cells, is_of_task=is_of_task)]


def _first_of(results: Mapping[str, Any], kind: str) -> str:
    return next(task for task in tasks_of(results, "seen") if task.partition("/")[2] == kind)


def _mean_rows(results: Mapping[str, Any], names: list[str]) -> list[tuple[str, GridRow]]:
    """Mean over the seen sets by task; empty where a cell is missing. None for a task with a single set."""
    entries: dict[str, list[Mapping[str, Any]]] = {}
    for task in tasks_of(results, "seen"):
        entries.setdefault(task.partition("/")[2], []).append(results["tasks"][task])
    rows: list[tuple[str, GridRow]] = []
    for task, found in entries.items():
        if len(found) > 1:
            scores = [[entry.get(name, {}).get("score") for entry in found] for name in names]
            means = [None if None in values else sum(values) / len(values) for values in scores]
            rows.append((task, GridRow("mean", labelled(f"mean {task}", results), [_number(mean) for mean in means])))
    return rows


def _axis_row(results: Mapping[str, Any], axis: str, entry: Mapping[str, Any], names: list[str]) -> GridRow:
    cells = [
        _percent(entry["gains"].get(name)) if name != entry["best_teacher"] else GridCell("±0.0", True, value=0.0)
        for name in names
    ]
    label = f"{labelled(axis, results, kind_of(results, entry.get('tasks', ())))}, gain %"
    return GridRow("axis", label, cells, _percent(entry.get("gain"), entry.get("ci")))


def _mean_gain_row(mean: MeanGain, names: list[str]) -> GridRow:
    """The student's, with its interval, stands in the column of gains too."""
    cells = [_percent(mean.gains.get(name)) for name in names]
    return GridRow("gain", mean.label, cells, _percent(mean.gain, mean.ci))


def _score(cell: Mapping[str, Any], measure: str, *, is_best: bool = False, is_win: bool = False) -> GridCell:
    if "score" not in cell:
        return GridCell("failed", is_failed=True) if "error" in cell else GridCell("–")
    text = f"{cell['score']:.1f}" if measure.endswith("%") else f"{cell['score']:.3g}"
    return GridCell(text, is_best, is_win, value=float(cell["score"]), ends=_ends(cell.get("ci"), measure))


def _signed(value: float, measure: str) -> str:
    return f"{value:+.1f}" if measure.endswith("%") else f"{value:+.3g}"


def _ends(interval: Sequence[float] | None, measure: str, *, signed: bool = False) -> str:
    """Empty without an interval."""
    if not interval:
        return ""
    sign = "+" if signed else ""
    kind = ".1f" if measure.endswith("%") else ".3g"
    return f"[{', '.join(format(end, sign + kind) for end in interval)}]"


def _number(value: float | None) -> GridCell:
    return GridCell("–") if value is None else GridCell(f"{value:.1f}", value=value)


def _percent(value: float | None, interval: Sequence[float] | None = None, *, wins: bool | None = None) -> GridCell:
    if value is None:
        return GridCell("")
    is_win = is_above(interval) if wins is None else wins
    return GridCell(f"{value:+.1f}", is_win=is_win, value=value, ends=_ends(interval, "%", signed=True))
