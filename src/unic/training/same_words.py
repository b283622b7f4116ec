"""Parts of a recipe with every option written out, so that the same part in other words is the same.

The options of projectors, standardisers, weightings and losses are keyword-only parameters, whose defaults a recipe may
leave out. `loss: {cosine: 1}` is short for `loss: {cosine: {weight: 1}}`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from unic import lookup
from unic.errors import InputError
from unic.lookup import COMPONENTS
from unic.recipe.teachers import written_out


def component(section: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    """A projector, standardiser or weighting with every option.

    Args:
        section: its key in the recipe.
        setting: its `type` and options.

    Raises:
        InputError: there is none of this type.
        UntrustedError: it is code of somebody else's and not trusted.
    """
    package, name = COMPONENTS[section]
    shared = {"blocks": "all"} if section == "projector" else {}
    return {**shared, **_defaults(lookup.entry(package, setting["type"], name)), **setting}


def loss(name: str, setting: Any) -> dict[str, Any]:
    """A loss as a mapping with its weight and every option; errors as of `component`.

    Args:
        name: its name in the recipe.
        setting: its weight, or weight and options.
    """
    module = lookup.module("unic.losses", name)
    options = setting if isinstance(setting, Mapping) else {"weight": setting}
    return {"weight": 1, **_defaults(getattr(module, "loss", None) or module.Loss), **options}


def in_the_same_words(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two recipes as trees that can be compared key by key: what one of them leaves out or writes short, both have.

    Parts of different types, and code that cannot be loaded, stay as they are written.
    """
    trees = written_out(one, other)
    for section in COMPONENTS:
        own = [tree[section] for tree in trees]
        if own[0]["type"] == own[1]["type"]:
            for tree, setting in zip(trees, own, strict=True):
                tree[section] = _if_known(component, section, setting)
    _losses_alike(*trees)
    models = [tree["teachers"]["models"] for tree in trees]
    for name in models[0].keys() & models[1].keys():
        teachers = [of_tree[name] for of_tree in models]
        if all(isinstance(teacher, Mapping) and teacher["loss"] for teacher in teachers):
            _losses_alike(*teachers)
    return trees[0], trees[1]


def _losses_alike(*parts: dict[str, Any]) -> None:
    """Gives the losses of two recipes, or of two teachers, one form."""
    settings = [part["loss"] for part in parts]
    mappings = {name for own in settings for name, setting in own.items() if isinstance(setting, Mapping)}
    for part, own in zip(parts, settings, strict=True):
        part["loss"] = {
            name: _if_known(loss, name, setting) if name in mappings else setting for name, setting in own.items()
        }


def _if_known(write: Callable[[str, Any], dict[str, Any]], name: str, setting: Any) -> Any:
    try:
        return write(name, setting)
    except InputError:
        return setting


def _defaults(kind: Callable[..., Any]) -> dict[str, Any]:
    """Defaults of keyword-only parameters, as a recipe would write them."""
    parameters = inspect.signature(kind).parameters.values()
    return {
        parameter.name: list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty
    }
