"""The table of results on a terminal: the best teacher of each task underlined, the student's gain at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from unic._text import printable
from unic.eval.results.axes import members_by_axis
from unic.eval.results.grid import GridCell, GridRow, TableGrid, compared_student, make_grid
from unic.eval.results.row_title import sets_of, task_of
from unic.eval.results.schema import Results
from unic.eval.results.scoreboard import Scoreboard
from unic.eval.results.seen import labelled, mean_gains, tasks_of
from unic.eval.results.trainings import mean_gains_of_trainings
from unic.eval.results.units import is_percentage

WIDTH = 100  # characters that a terminal and a README show without wrapping
_GAIN, _LEAST, _LONGEST = 8, 6, 9  # widths of the gains, of the narrowest score, and of a name that is not folded
_CEILING = 99  # percentage from which a task counts as too easy
_ENDS = 14  # width of an interval of a difference, [+10.3, +14.0]


def render(results: Results) -> RenderableType:
    """A rich table as wide as the terminal, at most `WIDTH`. Models that do not fit are in further tables below it.

    The best teacher of a task is underlined. The student is bold if the paired interval of its difference to that
    teacher is above 0. Seen tasks come first, then unseen tasks, then means over the sets, axes, mean gains and rank,
    and last descriptions. If models are compared with the first one, each row of scores is followed by a row of
    differences with paired intervals.
    """
    return _Fitted(results)


@dataclass(frozen=True)
class _Fitted:
    """The table, laid out for the console that prints it; a file has 80 columns unless `COLUMNS` is set."""

    results: Results

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield _laid_out(self.results, min(WIDTH, options.max_width))


def _laid_out(results: Results, columns: int) -> Group:
    grid = _printable(make_grid(results))
    # A row may be named by all options of its task. Such a name is folded, so that its scores have room.
    label = min(max([len(row.label) for row in grid.rows] + [len(grid.corner)]), columns // 2)
    room = columns - label - (_GAIN if grid.has_gain else 0) - 3
    is_compared = any(row.kind == "difference" for row in grid.rows)
    least, longest = (_ENDS, _ENDS) if is_compared else (_LEAST, _LONGEST)
    count = max(1, min(len(grid.names), room // (least + 1)))
    width = max(least, min(room // count - 1, max(map(len, [*grid.names, " " * longest]))))
    parts: list[Any] = []
    for start in range(0, len(grid.names), count):
        last = start + count >= len(grid.names)
        shown = grid.names[start : start + count]
        scores = [max(len(row.cells[start + place].text) for row in grid.rows) for place in range(len(shown))]
        needs = [least if is_compared else min(score, width) for score in scores]
        widths = _widths(shown, needs, width, room)
        parts.append(_table(grid, slice(start, start + count), widths, label, gain=grid.has_gain and last))
    units = {task_of(row.label): row.unit for row in grid.rows if row.unit}
    caption = "; ".join([_caption(results), *(f"{name}: {unit}" for name, unit in units.items())])
    lines = [caption, *(f"axis {name}: {listed}" for name, listed in members_by_axis(results).items())]
    return Group(*parts, *(Text(printable(line), style="dim italic") for line in lines))


def _widths(names: Sequence[str], needs: Sequence[int], width: int, room: int) -> list[int]:
    """Width of each column: enough for its scores and for its name up to `width`; then folded names get free space."""
    widths = [max(need, min(len(name), width)) for name, need in zip(names, needs, strict=True)]
    rest = room - sum(each + 1 for each in widths)
    while rest > 0 and (cut := [place for place, name in enumerate(names) if len(name) > widths[place]]):
        for place in cut[:rest]:
            widths[place] += 1
        rest -= len(cut[:rest])
    return widths


def _at_the_ceiling(results: Results) -> list[str]:
    """Tasks on which the best teacher scores so high that no model can be better by more than noise."""
    board = Scoreboard.of(results)
    return [
        printable(task)
        for task, teacher in board.best_teacher.items()
        if is_percentage(board.metric(task).name) and (board.score(task, teacher) or 0) >= _CEILING
    ]


def _printable(grid: TableGrid) -> TableGrid:
    """The grid with all names as they are printed, so that widths are right."""
    rows = [replace(row, label=printable(row.label), unit=printable(row.unit)) for row in grid.rows]
    return replace(grid, corner=printable(grid.corner), names=[printable(name) for name in grid.names], rows=rows)


def _table(grid: TableGrid, columns: slice, widths: Sequence[int], label: int, *, gain: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    table.add_column(Text(grid.corner), width=label, overflow="fold")
    for name, width in zip(grid.names[columns], widths, strict=True):
        # Long names are folded and not cut, as the names of ablations often differ only at their ends.
        table.add_column(Text(name), justify="right", overflow="fold", max_width=width)
    if gain:
        table.add_column("gain %", justify="right", no_wrap=True)
    first_unseen = next((row for row in grid.rows if row.is_of_task and row.is_unseen), None)
    for before, row in zip([None, *grid.rows], grid.rows, strict=False):
        is_first = before and before.kind != row.kind and (row.kind == "description" or before.is_of_task)
        if (is_first and not row.is_of_task) or row is first_unseen:
            table.add_section()
        cells = map(_compared if row.kind == "difference" else _styled, row.cells[columns])
        table.add_row(Text(row.label), *cells, *([_gain(row)] if gain else []))
    return table


def _gain(row: GridRow) -> Text:
    return _styled(row.gain) if row.gain else Text("")


def _compared(cell: GridCell) -> Text:
    return _styled(replace(cell, text=f"{cell.text}\n{cell.ends}")) if cell.text else Text("")


def _styled(cell: GridCell) -> Text:
    style = "red" if cell.is_failed else "underline" if cell.is_best else "bold" if cell.is_win else ""
    return Text().append(cell.text, style)  # a style of the whole text would underline the padding too


def _caption(results: Results) -> str:
    seeds = len(results.protocol.seeds) or 1
    parts = [f"{seeds} seed{'s' if seeds > 1 else ''}", *_trainings(results)]
    if Scoreboard.of(results).best_teacher:
        parts.append("underlined: best teacher of the task")
    if ceiling := _at_the_ceiling(results):
        parts.append(f"too easy to tell models apart: {', '.join(ceiling)} (the best teacher has {_CEILING} % or more)")
    if any(metric.lower_is_better for metric in results.measures.values()):
        parts.append("↓: lower is better")
    if compared_student(results):
        parts.append("bold: the student above that teacher by a paired bootstrap, 95 %")
        parts += [
            f"{mean.label} in [{mean.ci[0]:+.1f}, {mean.ci[1]:+.1f}] %" for mean in mean_gains(results) if mean.ci
        ]
        parts += verdict(results)
    if unseen := sets_of(tasks_of(results, "unseen")):
        parts.append(f"unseen, not used in training and in no other mean, axis or rank: {', '.join(unseen)}")
    if first := results.differences.to:
        parts.append(
            f"difference: to {first}, with its paired 95 % interval; "
            f"bold: better than {first}, as 0 is outside the interval"
        )
    if results.protocol.missing:
        parts.append(f"left out, as they could not be opened: {', '.join(results.protocol.missing)}")
    return "; ".join(parts)


def _trainings(results: Results) -> list[str]:
    """Lines for students that are a mean: the names of their trainings, and the gains of each training."""
    gains, found = mean_gains_of_trainings(results), []
    for name, model in results.models.items():
        if members := model.trainings:
            found.append(f"{name}: mean of the {len(members)} trainings {', '.join(members)}")
        for kind, values in gains.get(name, {}).items():
            listed = ", ".join("–" if value is None else f"{value:+.1f}" for value in values)
            found.append(f"{kind} of each training: {listed} %")
    return found


def verdict(results: Results) -> list[str]:
    """A sentence that compares the student with the best single teacher; empty if there is no such comparison."""
    single = results.single_teacher
    if single is None or single.difference_ci is None:
        return []
    low, high = single.difference_ci
    means = labelled("mean of all tasks in %", results)
    return [
        f"{means}: student {single.student:.1f}, best single teacher ({single.name}) {single.score:.1f}, "
        f"difference in [{low:+.1f}, {high:+.1f}]"
    ]
