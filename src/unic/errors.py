"""Exceptions whose single line is for the user: wrong input (the CLI exits with 2), the machine (1), a signal (75)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from unic._text import printable


class InputError(ValueError):
    """Wrong input from the user: one line that names the thing, what was expected and the nearest valid name.

    Args:
        text: the line. A line break or another sign that cannot be printed, which only a name can bring in, is written
            as in a Python string.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text))


class UntrustedError(InputError):
    """Code that nobody has said to trust; the line names what to add (`unic.trust`)."""


class StoppedError(RuntimeError):
    """A command that cannot go on though its input was right: the line says what the machine lacks (room on a disk,
    memory, a process that has died). The CLI exits with 1."""


class AgreedError(StoppedError):
    """A run that all its processes end together, so that none waits for another."""


class UnfinishedError(StoppedError):
    """A run was trained whole and is saved, and something after that failed: export, evaluation, report."""


class PreemptedError(Exception):
    """A signal asked the run to stop; what it had done is saved. The CLI exits with 75 so that a scheduler requeues."""


def in_one_line(error: BaseException) -> str:
    """What an exception says; of one that is none of these, with its kind."""
    text = printable(" ".join(str(error).split()))
    return text if isinstance(error, InputError | StoppedError) else f"{type(error).__name__}: {text}"


def nearest(name: str, valid: Iterable[str]) -> str:
    """Ending of an error line: `; did you mean 'x'?` when something is close, else the valid names."""
    names = sorted(map(str, valid))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; expected one of: {', '.join(names)}" if names else ""
