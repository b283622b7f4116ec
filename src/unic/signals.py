"""Signals that ask a program to stop: acted on at once where a block may be left at any point, else noted.

A terminal, `timeout` and schedulers signal the whole process group, some of them the process itself once more.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from unic.arguments import argument
from unic.errors import PreemptedError

STOP = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP") if hasattr(signal, name))
"""What a run takes for a request to save and to be continued later."""

_SAME = 0.3  # seconds within which a second signal is the first one, sent to the process and to its group


class StoppedBySignal(SystemExit):
    """The end of a command that has nothing to save, with the code that shells give: 128 and the signal's number.

    Like `KeyboardInterrupt` it is no `Exception`, so nothing on its way takes it for a failure.
    """


class _StopError(BaseException):
    """Raised by the handler in a block that may be left at any point."""


class StopSignals:
    """What has arrived. Calling it tells whether anything has."""

    def __init__(self) -> None:
        self._received: list[int] = []
        self._raises = False

    def __call__(self) -> bool:
        return bool(self._received)

    @contextmanager
    def at_once(self, when: str = "") -> Iterator[None]:
        """A block that ends as soon as a signal arrives.

        Args:
            when: goes on with the sentence "stopped by a signal".

        Raises:
            PreemptedError: a signal has arrived, here or before.
        """
        before, self._raises = self._raises, True
        try:
            self.catch_up()
            yield
        except _StopError:
            raise PreemptedError(
                f"{f'stopped by a signal {when}'.rstrip()}; continue with {argument('resume', True)}"
            ) from None
        finally:
            self._raises = before

    @contextmanager
    def noted(self) -> Iterator[None]:
        """A block that a signal does not end, within one that it does."""
        before, self._raises = self._raises, False
        try:
            yield
        finally:
            self._raises = before

    def catch_up(self) -> None:
        """Ends the block of `at_once` that this is called in, if something has arrived."""
        if self._received and self._raises:
            self._raises = False  # what cleans up behind the block is not left halfway
            raise _StopError

    def handle(self, number: int, frame: object) -> None:
        """The handler. A second Ctrl-C ends the run whatever it is doing."""
        is_repeated = _is_repeated()
        if number == signal.SIGINT and signal.SIGINT in self._received and not is_repeated:
            raise KeyboardInterrupt
        self._received.append(number)
        self.catch_up()


_current: StopSignals | None = None
_last = -math.inf  # when the last signal of all came


def _is_repeated() -> bool:
    global _last
    since, _last = time.monotonic() - _last, time.monotonic()
    return since < _SAME


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Takes over `STOP` until the block ends; a block within another shares what it has received.

    SIGHUP stays ignored where it is (`nohup`). In a thread that is not the main one signals stay as they are.
    """
    global _current
    if _current is not None:
        yield _current
        return
    stops = _current = StopSignals()
    is_hung_up_on = "SIGHUP" not in _ignored()
    try:
        with _handled({number: stops.handle for number in STOP if is_hung_up_on or number != signal.SIGHUP}):
            yield stops
    finally:
        _current = None


@contextmanager
def undivided() -> Iterator[None]:
    """A block that a signal ends before or after, never between."""
    if _current is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    with _current.noted():
        yield
    _current.catch_up()


@contextmanager
def orderly_end() -> Iterator[None]:
    """Ends a block at the first SIGINT, SIGTERM or SIGHUP that is not ignored, by `StoppedBySignal`.

    What cleans up is not disturbed by another one, unless the user insists (Ctrl-C).
    """
    has_ended = False

    def handle(number: int, frame: object) -> None:
        nonlocal has_ended
        if _is_repeated() or (has_ended and number != signal.SIGINT):
            return
        has_ended = True
        raise StoppedBySignal(128 + number)

    ignored = _ignored()
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name) and name not in ignored]
    with _handled({getattr(signal, name): handle for name in names}):
        yield


def ignore() -> None:
    """Leaves nothing of `STOP` to be heard, for a process that another one ends, or that is about to end."""
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)


def _ignored() -> set[str]:
    return {number.name for number in STOP if signal.getsignal(number) is signal.SIG_IGN}


@contextmanager
def _handled(handlers: dict[signal.Signals, Callable[[int, Any], None]]) -> Iterator[None]:
    try:
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    except ValueError:  # not the main thread (a notebook's worker, say)
        previous = {}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
