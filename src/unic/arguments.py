"""How a message names an argument: `--out` to who typed a command, `out` to who called a function.

Who asks is known to the process alone, not to the place that finds the mistake. So the command line says that it is
there, and everything else is a call from Python.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

_is_typed = False  # of the whole process: a message may come up in any thread of it


def argument(name: str, value: object = None, *, flag: str = "") -> str:
    """An argument as its user writes it.

    Args:
        name: that of the parameter in Python.
        value: what it is, or is to be set to; several values as a list. None: only the name is meant.
        flag: on the command line, if that has another name for it.

    Returns:
        `--skip-missing` or `skip_missing`; with True `--resume` or `resume=True`; with
        False, whose `flag` is named, `--no-check` or `check=False`; with a number `--jobs 2` or `jobs=2`;
        with a list `--format onnx` or `formats=['onnx']`.
    """
    if not _is_typed:
        return name if value is None else f"{name}={value!r}"
    flag = flag or f"--{name.replace('_', '-')}"
    if value is None or isinstance(value, bool):
        return flag
    if isinstance(value, list):
        return " ".join(f"{flag} {shlex.quote(str(one))}" for one in value)
    return f"{flag} {shlex.quote(str(value))}"


@contextmanager
def as_flags() -> Iterator[None]:
    """While a command is carried out, arguments are flags."""
    global _is_typed
    before, _is_typed = _is_typed, True
    try:
        yield
    finally:
        _is_typed = before


def are_flags() -> bool:
    """Whether arguments are flags now, to be told to a child process."""
    return _is_typed


def inherit(is_typed: bool) -> None:
    """In a child process: names arguments as its parent does, to its end."""
    global _is_typed
    _is_typed = is_typed
