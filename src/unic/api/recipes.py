"""Recipes and overrides, in the forms that functions of the API take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unic.errors import InputError
from unic.features import default_cache_dir
from unic.recipe.schema import Recipe

AnyRecipe = str | Path | Mapping[str, Any] | Recipe
"""A YAML path, the name of a shipped recipe, a mapping or a `Recipe`."""


def cache_folder(recipe: Recipe) -> Path:
    """The folder for features of a recipe: that of its teacher cache if it names one, else the user's."""
    setting = recipe.teachers.cache
    return Path(setting.dir) if setting and setting.dir else default_cache_dir()


def loadable(recipe: AnyRecipe) -> str | Path | dict[str, Any] | Recipe:
    """A recipe in a type that `load_recipe` takes."""
    return dict(recipe) if isinstance(recipe, Mapping) else recipe


def override_lines(overrides: Mapping[str, object] | None, keys: Mapping[str, object]) -> list[str]:
    """Overrides as `key=value`, with values as inline YAML (JSON is a part of it).

    Args:
        overrides: by dotted key.
        keys: keys of keyword arguments, in which two underscores stand for a dot.

    Raises:
        InputError: a key that is given in both, or a value that JSON cannot hold.
    """
    given = dict(overrides or {})
    for name, value in keys.items():
        key = name.replace("__", ".")
        if key in given:
            raise InputError(f"override '{key}' is given twice, in 'overrides' and as a keyword; leave one of them")
        given[key] = value
    return [_line(key, value) for key, value in given.items()]


def _line(key: str, value: object) -> str:
    try:
        return f"{key}={json.dumps(value)}"
    except (TypeError, ValueError) as error:
        raise InputError(f"override '{key}': expected numbers, texts, lists and mappings ({error})") from None
