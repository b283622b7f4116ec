"""Values of a wrong type for every option of a component."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

NEVER_RIGHT: list[Any] = ["no such word", {"a": 1}, ["a"]]


def wrong_values(target: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """Pairs of an option and a value that it cannot have; a number, a truth value and null are three types."""
    for option in inspect.signature(target).parameters.values():
        if option.kind is option.KEYWORD_ONLY:
            wrong = list(NEVER_RIGHT)
            wrong += [] if isinstance(option.default, tuple) else [[0.5]]
            wrong += [1.5] if isinstance(option.default, bool) else [True]
            wrong += [] if "None" in str(option.annotation) else [None]
            yield from ((option.name, value) for value in wrong)
