"""Exceptions that end a command with one line for the user, and the exit code of each.

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

An exception that is always caught by the package that raises it, such as `DamagedImageError`, is defined there.
"""

from __future__ import annotations

import difflib
import errno
import signal
from collections.abc import Iterable, Sequence
from copy import copy
from itertools import accumulate
from typing import ClassVar, NamedTuple

from unic._text import printable

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of a command that was interrupted before it had anything to save; shells use it, too."""
_LONGEST = 600  # characters of a line; the names and values in it may be of any length
_MOST_NAMES = 300  # characters of the valid names that a line lists


def one_line(text: object) -> str:
    """One line of an error. A long one keeps its start, which names the thing, and its end, which says what to do.

    Line breaks and other unprintable characters, which names bring in, are written as in a Python string.
    """
    line = printable(text)
    if len(line) <= _LONGEST:
        return line
    end = _LONGEST // 3
    return f"{line[: _LONGEST - end - 3]} … {line[-end:]}"


class Remedy(NamedTuple):
    """The end of an error line that says how a run goes on: `free some space and continue with --resume`.

    Attributes:
        action: what to do, for example "continue".
        command: what to do it with. A command that goes on in another way names that way here.
    """

    action: str
    command: str

    def __str__(self) -> str:
        return f"{self.action} with {self.command}"


class UnicError(Exception):
    """An error that ends a command with one line for the user.

    Args:
        text: the message, which `one_line` shortens.
        remedy: follows the text in the line.

    Attributes:
        exit_code: exit code of a command that ends with this error.
        text, remedy: the two parts of the line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, text: object = "", *, remedy: Remedy | None = None) -> None:
        super().__init__(one_line(text if remedy is None else f"{text}; {remedy}"))
        self.text, self.remedy = str(text), remedy

    def reworded(self, text: str, remedy: Remedy | None) -> UnicError:
        """The same error with another line."""
        other = copy(self)
        UnicError.__init__(other, text, remedy=remedy)
        return other

    def continued_with(self, command: str) -> UnicError:
        """The same error with another command in its remedy; itself where it has none."""
        return self.reworded(self.text, self.remedy._replace(command=command)) if self.remedy else self


class InputError(UnicError, ValueError):
    """Wrong input from the user: the line names the thing, what was expected and the nearest valid name."""

    exit_code = 2


class UntrustedError(InputError):
    """Code that is not trusted; the line names the argument that trusts it (`unic.trust`).

    Attributes:
        what: what the code is, and its name; empty where only the line is known.
    """

    def __init__(self, line: str, what: str = "") -> None:
        super().__init__(line)
        self.what = what


class NotApplicableError(InputError):
    """A task has nothing to measure for a model. This is not a failure: the cell stays empty and keeps the reason."""


class StoppedError(UnicError, RuntimeError):
    """A command cannot continue although its input is right; the line says what failed on the machine."""

    exit_code = 1


class FullDiskError(StoppedError):
    """The disk has no room for a file, or is gone."""


class LostPeerError(StoppedError):
    """Another process of the run has died, or does not answer."""


class WorkerError(StoppedError):
    """A process that decodes images has died, or does not answer."""


class NotFiniteError(StoppedError):
    """The losses were infinite or NaN in too many steps."""


class AgreedError(StoppedError):
    """All processes of a run end it together, so that none waits for another: too many images are damaged."""


class UnfinishedError(StoppedError):
    """The training is complete and saved, but the export, the evaluation or the report failed."""


class PreemptedError(UnicError):
    """A signal stopped the run, whose progress is saved. A scheduler that sees the exit code requeues the run."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


def exit_code_of(error: BaseException) -> int:
    """The exit code of a command that ends with an exception, of unic or of any library."""
    if isinstance(error, UnicError):
        return error.exit_code
    is_name = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
    return InputError.exit_code if is_name else StoppedError.exit_code


def reason_of(error: BaseException, longest: int | None = None) -> str:
    """The text of an exception without line breaks; the name of its class where it has no text.

    Args:
        error: an exception of any library.
        longest: number of characters to keep; None: all.
    """
    return (" ".join(str(error).split()) or type(error).__name__)[:longest]


def first_line_of(error: BaseException) -> str:
    """The first line of an exception's text, for libraries that append a trace or advice."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def in_one_line(error: BaseException) -> str:
    """The text of an exception as one line; the name of its class comes first unless it is an error of unic."""
    is_ours = isinstance(error, InputError | StoppedError)
    return one_line(reason_of(error) if is_ours else f"{type(error).__name__}: {' '.join(str(error).split())}")


def nearest(name: str, valid: Iterable[str]) -> str:
    """Ending of an error line: `; did you mean 'x'?` for a close name, else as many valid names as fit."""
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
