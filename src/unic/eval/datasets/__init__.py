"""Evaluation sets by name. A set is one file with `load(max_train, max_test) -> DataPair`; a path needs no file."""

from __future__ import annotations

from unic import lookup
from unic.errors import InputError, nearest
from unic.eval.datasets.base import DataPair, open_pair

__all__ = ["DataPair", "open_pair", "resolve"]


def resolve(spec: str, *, max_train: int | None = None, max_test: int | None = None) -> DataPair:
    """The set that `spec` stands for.

    Args:
        spec: the name of a set in this package, `NAME=PATH` with anything `open_pair` reads, or a dotted module.
        max_train, max_test: fixed random subsets of so many images.

    Raises:
        InputError: no such set, or its images are not labelled.
    """
    name, equals, path = spec.partition("=")
    if equals:
        if not name or not path:
            raise InputError(f"data '{spec}': expected NAME=PATH")
        return open_pair(name, path, max_train=max_train, max_test=max_test)
    valid = [entry for entry in lookup.names(__name__) if entry != "base"]
    if name not in valid and "." not in name:
        raise InputError(f"unknown evaluation set '{name}'{nearest(name, valid)}; NAME=PATH names your own")
    return lookup.entry(__name__, name, "load")(max_train=max_train, max_test=max_test)
