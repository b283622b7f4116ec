"""Signals that ask a process to stop: they end a block that can be left at any point, and are noted in others.

A terminal, `timeout` and schedulers signal the whole process group; some signal the process itself once more.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from unic.arguments import argument
from unic.errors import PreemptedError, Remedy

STOP = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a run to save and stop, so that it can be resumed."""

_SAME = 0.3  # seconds; a second signal within them is the first one again, sent to the process and to its group


class StoppedBySignal(SystemExit):
    """Ends a command that has nothing to save, with the exit code that shells use: 128 plus the signal's number.

    Like `KeyboardInterrupt` it is not an `Exception`, so handlers of failures do not catch it.
    """


class _StopError(BaseException):
    """Raised by the handler in a block that can be left at any point."""


class StopSignals:
    """The signals received so far. A call returns whether there are any."""

    def __init__(self) -> None:
        self._received: list[int] = []
        self._raises = False

    def __call__(self) -> bool:
        return bool(self._received)

    @contextmanager
    def at_once(self, when: str = "") -> Iterator[None]:
        """Ends the block as soon as a signal arrives.

        Args:
            when: follows "stopped by a signal" in the message.

        Raises:
            PreemptedError: a signal arrived inside the block or before it.
        """
        before, self._raises = self._raises, True
        try:
            self.catch_up()
            yield
        except _StopError:
            text = f"stopped by a signal {when}".rstrip()
            raise PreemptedError(text, remedy=Remedy("continue", argument("resume", True))) from None
        finally:
            self._raises = before

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Only notes signals inside the block, even within a block of `at_once`."""
        before, self._raises = self._raises, False
        try:
            yield
        finally:
            self._raises = before

    def catch_up(self) -> None:
        """Ends the surrounding block of `at_once` if a signal has arrived."""
        if self._received and self._raises:
            self._raises = False  # a second signal must not interrupt the cleanup
            raise _StopError

    def handle(self, number: int, frame: object) -> None:
        """Notes a signal, as its handler. A second Ctrl-C ends the run at once, without saving."""
        is_repeated = _is_repeated()
        if number == signal.SIGINT and signal.SIGINT in self._received and not is_repeated:
            raise KeyboardInterrupt
        self._received.append(number)
        self.catch_up()


_current: StopSignals | None = None
_last = -math.inf  # time of the latest signal


def _is_repeated() -> bool:
    global _last
    since, _last = time.monotonic() - _last, time.monotonic()
    return since < _SAME


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Handles the signals of `STOP` inside the block. A nested block shares the `StopSignals` of the outer one.

    SIGHUP stays ignored where it already is (`nohup`). Outside the main thread no handler is set.
    """
    global _current
    if _current is not None:
        yield _current
        return
    stops = _current = StopSignals()
    takes_hangup = "SIGHUP" not in _ignored()
    try:
        with _handled({number: stops.handle for number in STOP if takes_hangup or number != signal.SIGHUP}):
            yield stops
    finally:
        _current = None


@contextmanager
def undivided() -> Iterator[None]:
    """Holds signals back inside the block, which is never left halfway; they take effect at its end."""
    if _current is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    with _current.noted():
        yield
    _current.catch_up()


@contextmanager
def orderly_end() -> Iterator[None]:
    """Raises `StoppedBySignal` inside the block at the first SIGINT, SIGTERM or SIGHUP that is not ignored.

    Later signals do not disturb the cleanup, unless the user insists with Ctrl-C.
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


def ignore(later: Collection[int] = ()) -> None:
    """Ignores the signals of `STOP`: for a process that its parent ends, or that is about to end.

    Args:
        later: those that the process handles later. One that has arrived while it is blocked stays pending, whereas
            `SIG_IGN` would discard it.
    """
    for number in STOP:
        signal.signal(number, _pass_over if number in later else signal.SIG_IGN)


def _pass_over(number: int, frame: object) -> None:
    """Does nothing, as a handler."""


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
