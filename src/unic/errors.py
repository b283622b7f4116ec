"""Exceptions whose single line is for the user: wrong input (the CLI exits with 2), the machine (1), a signal (75)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import accumulate

from unic._text import printable

_LONGEST = 600  # characters of a line; names, values and lists of names that stand in it may have any length
_MOST_NAMES = 300  # characters of the valid names that a line lists


def one_line(text: object) -> str:
    """A line that an error may be: of a long one the start, which names the thing, and the end, which says what to do.

    A line break or another sign that cannot be printed, which only a name can bring in, is written as in a Python
    string.
    """
    line = printable(text)
    if len(line) <= _LONGEST:
        return line
    end = _LONGEST // 3
    return f"{line[: _LONGEST - end - 3]} … {line[-end:]}"


class _LineError(Exception):
    """Its text is `one_line`."""

    def __init__(self, text: object = "") -> None:
        super().__init__(one_line(text))


class InputError(_LineError, ValueError):
    """Wrong input from the user: one line that names the thing, what was expected and the nearest valid name.

    Args:
        text: see `one_line`.
    """


class UntrustedError(InputError):
    """Code that nobody has said to trust; the line names what to add (`unic.trust`)."""


class StoppedError(_LineError, RuntimeError):
    """A command that cannot go on though its input was right: the line says what the machine lacks (room on a disk,
    memory, a process that has died). The CLI exits with 1."""


class AgreedError(StoppedError):
    """A run that all its processes end together, so that none waits for another."""


class UnfinishedError(StoppedError):
    """A run was trained whole and is saved, and something after that failed: export, evaluation, report."""


class PreemptedError(_LineError):
    """A signal asked the run to stop; what it had done is saved. The CLI exits with 75 so that a scheduler requeues."""


def in_one_line(error: BaseException) -> str:
    """What an exception says; of one that is none of these, with its kind."""
    text = " ".join(str(error).split())
    return one_line(text if isinstance(error, InputError | StoppedError) else f"{type(error).__name__}: {text}")


def nearest(name: str, valid: Iterable[str]) -> str:
    """Ending of an error line: `; did you mean 'x'?` when something is close, else the valid names, as many as fit."""
    names = sorted(map(str, valid))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; expected one of: {_listed(names)}" if names else ""


def _listed(names: Sequence[str]) -> str:
    ends = accumulate(len(name) + 2 for name in names)
    fit = sum(end <= _MOST_NAMES for end in ends) or 1
    more = len(names) - fit
    return ", ".join(names[:fit]) + (f" and {more} more" if more else "")
