"""The progress of an evaluation: a bar on a terminal, a line every half minute elsewhere (logs, schedulers)."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from unic._text import printable
from unic.terminal import tell

_EVERY = 30.0  # seconds between two lines


class CellProgress:
    """Counts finished cells and shows their number. A context manager.

    Args:
        console: console for the bar or the lines.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Bar(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("evaluation", total=None)
        self._done, self._total, self._told = 0, 0, time.monotonic()

    def __enter__(self) -> CellProgress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def describe(self, text: str) -> None:
        """Shows what is being done."""
        self._bar.update(self._task, description=printable(text))
        if not self.console.is_terminal and time.monotonic() - self._told > _EVERY:
            self._told = time.monotonic()
            tell(self.console, f"{self._done} of {self._total or '?'} cells; {text}")

    def expect(self, total: int) -> None:
        """Sets the number of cells to measure."""
        self._total = total
        self._bar.update(self._task, total=total)

    def advance(self, count: int) -> None:
        self._done += count
        self._bar.advance(self._task, count)
