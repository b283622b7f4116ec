"""How far a training is, on a terminal: a bar, and below it the newest numbers."""

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
    """A bar that draws only when it is told of something: no thread writes to a terminal that may be gone.

    Args:
        console: where it is shown.
        after: the step that the run continues from.
        total: the last step.
    """

    def __init__(self, console: Console, after: int, total: int) -> None:
        self._line = ""  # drawn by the parent's constructor already
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

    def step(self, number: int) -> None:
        """A step is done; drawn now and then."""
        self.update(self._task, completed=number)
        if time.monotonic() - self._drawn >= _EVERY:
            self._draw()

    def say(self, line: str) -> None:
        """The newest numbers, in place of those before; drawn at once."""
        self._line = printable(line)
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self.refresh()
