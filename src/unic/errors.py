"""Exceptions whose single line is for the user, with the code that a command exits with.

    UnicError
    ├── InputError               2   wrong input
    │   ├── UntrustedError
    │   └── NotApplicableError
    ├── StoppedError             1   the machine
    │   ├── FullDiskError
    │   ├── LostPeerError
    │   ├── WorkerError
    │   ├── NotFiniteError
    │   ├── AgreedError
    │   └── UnfinishedError
    └── PreemptedError          75   a signal; what is done is saved

An exception that is always caught by the package that raises it, such as `DamagedImageError`, stands in that package.
"""

from __future__ import annotations

import difflib
import errno
import signal
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import ClassVar

from unic._text import printable

INTERRUPTED = 128 + signal.SIGINT
"""The exit code of a command that was interrupted before it had anything to save, as shells give it."""
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


class UnicError(Exception):
    """What ends a command with one line for the user: the text, as `one_line`.

    Args:
        text: see `one_line`.

    Attributes:
        exit_code: of a command that ends with it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, text: object = "") -> None:
        super().__init__(one_line(text))


class InputError(UnicError, ValueError):
    """Wrong input from the user: the line names the thing, what was expected and the nearest valid name."""

    exit_code = 2


class UntrustedError(InputError):
    """Code that nobody has said to trust; the line names what to add (`unic.trust`)."""


class NotApplicableError(InputError):
    """A task has nothing to measure for this model, which is no failure: the cell stays empty, with the reason kept."""


class StoppedError(UnicError, RuntimeError):
    """A command that cannot go on though its input was right: the line says what the machine lacks or did."""

    exit_code = 1


class FullDiskError(StoppedError):
    """What has to be written does not fit on its disk, or the disk is gone."""


class LostPeerError(StoppedError):
    """Another process of the run has died, or does not answer."""


class WorkerError(StoppedError):
    """A process that decodes images has died, or does not answer."""


class NotFiniteError(StoppedError):
    """The losses are infinite or not a number, step after step."""


class AgreedError(StoppedError):
    """A run that all its processes end together, so that none waits for another: too many images are damaged."""


class UnfinishedError(StoppedError):
    """A run was trained whole and is saved, and something after that failed: export, evaluation, report."""


class PreemptedError(UnicError):
    """A signal asked the run to stop; what it had done is saved. A scheduler that sees the code requeues the run."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


def exit_code_of(error: BaseException) -> int:
    """What a command ends with after an exception, of this file or of any library."""
    if isinstance(error, UnicError):
        return error.exit_code
    is_name = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
    return InputError.exit_code if is_name else StoppedError.exit_code


def reason_of(error: BaseException, longest: int | None = None) -> str:
    """What an exception says, without its line breaks; of one that says nothing its kind.

    Args:
        error: of any library.
        longest: characters after which it is cut; None: never.
    """
    return (" ".join(str(error).split()) or type(error).__name__)[:longest]


def first_line_of(error: BaseException) -> str:
    """The first line of what an exception says, where a library appends a trace or advice to it."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def in_one_line(error: BaseException) -> str:
    """What an exception says, whole, with its kind where it is none of these errors."""
    is_ours = isinstance(error, InputError | StoppedError)
    return one_line(reason_of(error) if is_ours else f"{type(error).__name__}: {' '.join(str(error).split())}")


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
