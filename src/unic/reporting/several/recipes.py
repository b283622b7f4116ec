"""Differences between the recipes of several runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from unic.recipe.reading import leaves
from unic.recipe.schema import Recipe
from unic.recipe.teachers import written_out

_ABSENT = "–"


def differences(recipes: Sequence[Recipe | None]) -> list[dict[str, Any]]:
    """A row for each dotted key whose value is not the same everywhere, with its value in each run.

    A run whose recipe cannot be read has "–", and is not compared.
    """
    trees = [{} if recipe is None else recipe.unresolved(recipe.model_dump(mode="json")) for recipe in recipes]
    flat = [flattened(tree) for tree in written_out(*trees)]
    known = [values for values, recipe in zip(flat, recipes, strict=True) if recipe is not None]
    keys = list(dict.fromkeys(key for values in known for key in values))
    rows = []
    for key in keys:
        if len({values.get(key, _ABSENT) for values in known}) > 1:
            rows.append({"key": key, "values": [values.get(key, _ABSENT) for values in flat]})
    return rows


def flattened(tree: Mapping[str, Any]) -> dict[str, str]:
    """Values by dotted key, as text; a list is one value, its entries on lines of their own."""
    return {
        key: "\n".join(map(_text, value)) if isinstance(value, list) else _text(value)
        for key, value in leaves(tree).items()
    }


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_text(entry)}" for key, entry in value.items() if entry is not None)
    return value if isinstance(value, str) else json.dumps(value)
