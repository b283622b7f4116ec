"""Progress of a synthesis: a live line on a terminal; elsewhere (logs, schedulers) a line now and then."""

from __future__ import annotations

import time

from rich.console import Console

from unic.quantities import duration
from unic.terminal import tell

_EVERY = 30.0  # seconds between two lines


class SynthesisProgress:
    """Shows steps, objective and the time that is left. A context manager.

    Args:
        console: where it is shown.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._status = console, console.status("synthesising")
        self._told = time.monotonic()
        self._first: tuple[float, int] | None = None  # time of the first report, and its steps

    def __enter__(self) -> SynthesisProgress:
        self._status.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._status.stop()

    def show(self, done: int, total: int, objective: float) -> None:
        """Shows the steps done, the steps in all, and the objective of the last one."""
        now = time.monotonic()
        began, before = self._first = self._first or (now, done)
        left = f", {duration((now - began) / (done - before) * (total - done))} left" if done > before else ""
        text = f"synthesising: {done} of {total} steps, objective {objective:.3f}{left}"
        self._status.update(text)
        if not self._console.is_terminal and now - self._told > _EVERY:
            self._told = now
            tell(self._console, text)
