"""Weightings: each file holds a class `Weighting` that says how much each pair of teacher and image counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic import lookup
from unic.errors import InputError
from unic.weightings.base import Pairs, Weighting

__all__ = ["Pairs", "Weighting", "build_weighting"]


def build_weighting(name: str, num_teachers: int, seed: int, options: Mapping[str, Any]) -> Weighting:
    """A weighting.

    Args:
        name: a file of this package, or a dotted path.
        num_teachers: T.
        seed: seed of the run.
        options: the other keys of the recipe's `weighting`.

    Raises:
        InputError: no such weighting, or wrong options.
    """
    kind = lookup.entry("unic.weightings", name, "Weighting")
    if not (isinstance(kind, type) and issubclass(kind, Weighting)):
        raise InputError(f"weighting '{name}': its 'Weighting' must be a subclass of unic.weightings.base.Weighting")
    lookup.check_component(kind, "weighting", name, options)
    lookup.check_values(kind.__init__, options, f"recipe: weighting '{name}'")
    return kind(num_teachers, seed, **options)
