"""Recipes as the functions of the API take them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unic.features import default_cache_dir
from unic.recipe.schema import Recipe

AnyRecipe = str | Path | Mapping[str, Any] | Recipe
"""A YAML path, the name of a shipped recipe, a mapping or a `Recipe`."""


def cache_folder(recipe: Recipe) -> Path:
    """Where features of this recipe are kept: its teacher cache's folder if it names one, else the user's."""
    setting = recipe.teachers.cache
    return Path(setting.dir) if setting and setting.dir else default_cache_dir()


def recipe_source(recipe: AnyRecipe) -> str | Path | dict[str, Any] | Recipe:
    return dict(recipe) if isinstance(recipe, Mapping) else recipe


def override_lines(overrides: Mapping[str, Any]) -> list[str]:
    """`key=value` of keyword arguments, with values as inline YAML (JSON is a part of it)."""
    return [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in overrides.items()]
