"""Standardisers: each file holds a class `Standardizer` that brings the tokens of all teachers to one scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unic import lookup
from unic.kinds import KINDS, Kind
from unic.standardizers.base import Dims, Inverse, Standardizer

__all__ = ["KINDS", "Dims", "Inverse", "Kind", "Standardizer", "build_standardizer", "standardizer_kind"]


def build_standardizer(name: str, dims: Dims, options: Mapping[str, Any]) -> Standardizer:
    """A standardiser.

    Args:
        name: a file of this package, or a dotted path.
        dims: widths of CLS and patches by teacher; a width of 0 leaves either out.
        options: the other keys of the recipe's `standardize`.

    Raises:
        InputError: no such standardiser, or wrong options.
    """
    return lookup.component("standardize", name, options, Standardizer)(dims, **options)


def standardizer_kind(name: str) -> type[Standardizer]:
    """The class that a name stands for.

    Raises:
        InputError: there is none.
    """
    return lookup.subclass("unic.standardizers", name, "Standardizer", Standardizer)
