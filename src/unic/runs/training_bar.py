"""The progress of a training on a terminal: a bar, with the newest numbers below it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from unic._text import printable
from unic.terminal import folded

_EVERY = 0.2  # seconds between two drawings


class TrainingBar(Progress):
    """A bar that is drawn only when its methods are called: no thread writes to a terminal that may be closed.

    Args:
        console: the console that shows it.
        after: the step that the run continues from.
        total: the last step.
    """

    def __init__(self, console: Console, after: int, total: int) -> None:
        self._line = ""  # the parent's constructor draws it
        self._drawn = 0.0
        super().__init__(
            TextColumn("step"), MofNCompleteColumn(), BarColumn(None), TaskProgressColumn(), TextColumn("left"),
            TimeRemainingColumn(), console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._task = self.add_task("", total=total, completed=after)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self._line:
            yield Text(
                "\n".join(folded(self._line, self.console.width)), style="dim", no_wrap=True, overflow="ellipsis"
            )

    def advance_to(self, step: int) -> None:
        """Sets the bar to a finished step, and draws it now and then."""
        self.update(self._task, completed=step)
        if time.monotonic() - self._drawn >= _EVERY:
            self._draw()

    def say(self, line: str) -> None:
        """Replaces the numbers below the bar, and draws at once."""
        self._line = printable(line)
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self.refresh()
