"""Options for the width of hidden layers: a number of channels, or the default of the projector."""

from __future__ import annotations

from unic.errors import InputError


def hidden_width(option: str, value: int | None, default: int) -> int:
    """The width of a hidden layer.

    Args:
        option: name of the option.
        value: its value; None: the default.
        default: width of the layer without the option.

    Raises:
        InputError: the width is not positive.
    """
    if value is None:
        return default
    if value < 1:
        raise InputError(f"recipe: 'projector.{option}' must be at least 1 (got {value})")
    return value
