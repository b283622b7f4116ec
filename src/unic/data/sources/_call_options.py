"""Options in a path that are keyword arguments of a function: `generated:strokes?images=100&width=3`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from unic.errors import InputError


def read_options(path: str, query: str) -> dict[str, str]:
    """The options by name.

    Args:
        path: the whole path, for messages.
        query: the part of it after the `?`.

    Raises:
        InputError: an option is given twice.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    if len(given) < len(pairs):
        raise InputError(f"data '{path}': an option is given twice")
    return given


def value_of(path: str, function: Callable[..., Any], key: str, text: str) -> Any:
    """The value of an option, of the type of the parameter's default; a text where there is no default, or it is None.

    Raises:
        InputError: the text is not of that type.
    """
    parameter = inspect.signature(function).parameters.get(key)
    default = None if parameter is None or parameter.default is parameter.empty else parameter.default
    kind = str if default is None else type(default)
    if kind is bool:
        kind = {"true": True, "false": False}.__getitem__  # type: ignore[assignment]
    try:
        return kind(text)
    except (ValueError, KeyError, TypeError):
        raise InputError(f"data '{path}': {key}={text}; expected a value like {default}") from None
