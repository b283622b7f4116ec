"""Signals that ask a run to stop: noted when they arrive, acted on between two steps."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Turns SIGTERM, SIGUSR1 and the first SIGINT into a flag that the loop reads between steps."""
    received: list[int] = []

    def handle(number: int, frame: object) -> None:
        if number == signal.SIGINT and signal.SIGINT in received:
            raise KeyboardInterrupt
        received.append(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)]
    try:
        previous = {number: signal.signal(number, handle) for number in numbers}
    except ValueError:  # not the main thread (a notebook's worker, say): signals stay as they are
        previous = {}
    try:
        yield lambda: bool(received)
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
