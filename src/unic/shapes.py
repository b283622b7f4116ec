"""A check of shapes: a part of one's own may return another one, which torch would broadcast in silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unic.errors import InputError


def check_shape(what: str, found: Any, expected: Sequence[int], meaning: str) -> None:
    """Refuses a tensor of another shape. This does not read the device.

    Args:
        what: the part, its name and what it returns, which begin the line.
        found: the tensor.
        expected: its shape.
        meaning: `expected` in words.

    Raises:
        InputError: it has another shape, or is no tensor.
    """
    shape = getattr(found, "shape", None)
    if shape != expected:
        has = f"is of type {type(found).__name__}" if shape is None else f"has the shape {tuple(shape)}"
        raise InputError(f"{what} {has}; expected {meaning}, here {tuple(expected)}")
