"""Names of arguments in messages: `--out` on the command line, `out` for a caller from Python.

The code that finds a mistake does not know who called it. So the command line sets a flag of the process (`as_flags`),
and without that flag arguments are named as in Python.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

_is_typed = False  # of the process, since any of its threads may write a message


def argument(name: str, value: object = None, *, flag: str = "") -> str:
    """An argument as its user writes it.

    Args:
        name: name of the Python parameter.
        value: the value to show; several values as a list. None: only the name.
        flag: the flag on the command line, where it has another name.

    Returns:
        Without a value `--skip-missing` or `skip_missing`; with True `--resume` or `resume=True`; with False and a
        `flag` `--no-check` or `check=False`; with a number `--jobs 2` or `jobs=2`; with a list `--format onnx` or
        `formats=['onnx']`.
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
    """Names arguments as flags inside the block."""
    global _is_typed
    before, _is_typed = _is_typed, True
    try:
        yield
    finally:
        _is_typed = before


def are_flags() -> bool:
    """Whether arguments are named as flags now; `inherit` takes this in a child process."""
    return _is_typed


def inherit(is_typed: bool) -> None:
    """Makes a child process name arguments as its parent does."""
    global _is_typed
    _is_typed = is_typed
