"""Weightings: each file holds a class `Weighting` that says how much each pair of teacher and image counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic import lookup
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
    return lookup.component("weighting", name, options, Weighting)(num_teachers, seed, **options)
