"""Whether two recipes are the same, also where one leaves an option at its default and the other writes it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from unic import lookup
from unic.recipe.schema import Recipe


def content(recipe: Recipe) -> str:
    """The content of a recipe, with the default of every option; equal for recipes that are the same.

    Raises:
        InputError: a projector, standardiser or weighting that does not exist.
        UntrustedError: one that is code of somebody else's and not trusted.
    """
    tree = recipe.model_dump(mode="json")
    kinds: dict[str, Callable[..., Any]] = {
        "projector": lookup.entry("unic.projectors", recipe.projector.type, "Projector"),
        "standardize": lookup.entry("unic.standardizers", recipe.standardize.type, "Standardizer"),
        "weighting": lookup.entry("unic.weightings", recipe.weighting.type, "Weighting"),
    }
    for section, kind in kinds.items():
        tree[section] = {**_defaults(kind), **tree[section]}
    tree["projector"] = {"blocks": "all", **tree["projector"]}
    return json.dumps(_as_numbers(tree), sort_keys=True, default=str)


def _as_numbers(value: Any) -> Any:
    """A tree in which 0 and 0.0 are one number."""
    if isinstance(value, Mapping):
        return {key: _as_numbers(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_numbers(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _defaults(kind: Callable[..., Any]) -> dict[str, Any]:
    """Defaults of keyword-only parameters, which are the options of a recipe's component."""
    parameters = inspect.signature(kind).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty
    }
