"""The one exception that means "the user's input is wrong": the CLI prints its single line and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Wrong input from the user: one line that names the thing, what was expected and the nearest valid name."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Ending of an error line: `; did you mean 'x'?` when something is close, else the valid names."""
    names = sorted(map(str, valid))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; expected one of: {', '.join(names)}" if names else ""
