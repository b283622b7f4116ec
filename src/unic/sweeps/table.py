"""The table of a sweep, for a terminal of 80 columns and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from unic._text import markdown, printable
from unic.eval.results.units import number
from unic.runs.metric_names import TOP1
from unic.sweeps.summary import LOWER, Kind, Mean, Row, SuiteSummary

_HEAD = 20  # letters of a head
_ANY_WIDTH = 10_000


def render(summaries: Sequence[SuiteSummary]) -> RenderableType:
    """One table for each suite: seeds, scores, and differences to the base with their intervals.

    Bold: the variant is above the base by that interval; dim: below. One seed shows neither.
    """
    return Group(*(part for summary in summaries for part in _rendered(summary, title=len(summaries) > 1)))


def as_markdown(summaries: Sequence[SuiteSummary]) -> str:
    """The same in Markdown, with every task."""
    return "\n".join(line for summary in summaries for line in _markdown(summary))


def score(mean: Mean | None, unit: str = TOP1) -> str:
    """A score and, of several trainings, its deviation: `63.8 ± 0.7`."""
    if mean is None:
        return "–"
    return _number(mean.score, unit) + ("" if mean.spread is None else f" ± {_number(mean.spread, unit)}")


def difference(mean: Mean | None, unit: str = TOP1) -> str:
    """A difference and its interval: `-1.7 [-2.4, -1.0]`."""
    if mean is None or mean.difference is None:
        return ""
    value, ci, *_ = mean.difference
    ends = f" [{_number(ci[0], unit, '+')}, {_number(ci[1], unit, '+')}]" if ci else ""
    return _number(value, unit, "+") + ends


def _number(value: float, unit: str, sign: str = "") -> str:
    """The text of a number; without a sign if it rounds to zero."""
    text = number(value, unit.removesuffix(LOWER), sign)
    return text.lstrip("+-") if float(text) == 0 else text


def _rendered(summary: SuiteSummary, *, title: bool) -> Iterator[RenderableType]:
    if title:
        yield Text(printable(summary.name), style="bold")
    yield _OneOrTwo(summary)
    yield Text(printable("; ".join(_notes(summary))), style="dim italic")


class _OneOrTwo:
    """Seen and unseen tasks side by side where that fits, else one below the other, so that names stay whole."""

    def __init__(self, summary: SuiteSummary) -> None:
        self._summary = summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = _table(self._summary, list(self._summary.kinds))
        needed = Measurement.get(console, options.update_width(_ANY_WIDTH), whole).maximum
        if needed <= options.max_width:
            yield whole
        else:
            yield from (_table(self._summary, [kind]) for kind in self._summary.kinds)


def _table(summary: SuiteSummary, kinds: Sequence[Kind]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, expand=False)
    table.add_column("variant", overflow="fold")
    table.add_column("seeds", justify="right", no_wrap=True)
    for kind in kinds:
        table.add_column(summary.label(kind), justify="right", no_wrap=True)
        if summary.base:
            table.add_column(_shortened(f"to {printable(summary.base)}"), justify="right", no_wrap=True)
    shown = 2 if summary.base else 1  # without a base there are scores, and no differences
    for row in summary.rows:
        cells = [cell for kind in kinds for cell in _cells(row.means.get(kind), unit_of(summary, kind))[:shown]]
        table.add_row(Text(printable(row.name)), str(len(row.seeds)), *cells)
    return table


def unit_of(summary: SuiteSummary, kind: Kind) -> str:
    """The measure of a mean."""
    return summary.units[summary.kinds[kind][0]]


def _shortened(text: str) -> str:
    return text if len(text) <= _HEAD else f"{text[: _HEAD - 1]}…"


def _cells(mean: Mean | None, unit: str) -> list[Text]:
    known = mean.difference if mean else None
    style = "" if known is None else "bold" if known.is_above else "dim" if known.is_below else ""
    return [Text(score(mean, unit)), Text(difference(mean, unit), style)]


def _notes(summary: SuiteSummary) -> list[str]:
    units = {summary.units[task] for tasks in summary.kinds.values() for task in tasks}
    means = [
        f"{summary.label(kind)}: over {len(tasks)} task{'s' if len(tasks) > 1 else ''}"
        for kind, tasks in summary.kinds.items()
    ]
    return [*means, *sorted(units), *summary.notes()]


def _markdown(summary: SuiteSummary) -> Iterator[str]:
    heads = [f"{summary.label(kind)} of {len(tasks)}" for kind, tasks in summary.kinds.items()]
    heads += summary.units
    yield f"**{markdown(summary.name)}**"
    yield ""
    yield f"| variant | seeds | {' | '.join(map(markdown, heads))} |"
    yield "|---|---:|" + "---:|" * len(heads)
    for row in summary.rows:
        cells = [_both(row.means.get(kind), unit_of(summary, kind)) for kind in summary.kinds]
        cells += [_both(row.tasks.get(task), unit) for task, unit in summary.units.items()]
        yield f"| {markdown(row.name)} | {len(row.seeds)} | {' | '.join(cells)} |"
    yield ""
    beneath = [f"Beneath a score: its difference to {summary.base}"] if summary.base else []
    yield f"{markdown('; '.join([*beneath, *_notes(summary)]))}."
    yield ""


def _both(mean: Mean | None, unit: str) -> str:
    return "<br>".join(filter(None, (markdown(score(mean, unit)), markdown(difference(mean, unit)))))


def changes(row: Row) -> list[str]:
    """Changes of a variant, a line each."""
    return [*([f"resumes {row.of}"] if row.of else []), *row.overrides]
