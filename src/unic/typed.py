"""Code that a user typed: what overrides and flags of a recipe name. What the recipe's file names does not count."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from omegaconf import OmegaConf

from unic.lookup import COMPONENTS
from unic.recipe.reading import is_teacher, leaves
from unic.trust import typed

_ONE = ("student.model", *COMPONENTS, *(f"{name}.type" for name in COMPONENTS))
_IMAGES = ("data.train", "data.validation")
_LOSSES = r"(?:teachers\.models\.[^.]+\.)?loss"
_ONE_LOSS = re.compile(_LOSSES)
_LOSS = re.compile(rf"{_LOSSES}\.(.+)")
_GENERATED = "generated:"
_OWN = "py:"


def code_in_overrides(overrides: Sequence[str]) -> list[str]:
    """URIs and dotted names in overrides, as they were typed.

    A reference (`student.model=${…}`) is not resolved, because what it leads to was not typed.

    Args:
        overrides: `key=value`, as of `load_recipe`.
    """
    trees = [OmegaConf.to_container(OmegaConf.from_dotlist([override]), resolve=False) for override in overrides]
    return [name for tree in trees if isinstance(tree, dict) for name in code_in(tree)]


def code_in(tree: Mapping[Any, Any]) -> list[str]:
    """URIs and names of components in a recipe or in a part of one. Most of them name no code outside unic."""
    flat = leaves(tree)
    found = [value for key, value in flat.items() if key in _ONE or is_teacher(key) or _ONE_LOSS.fullmatch(key)]
    found = typed(value for value in found if isinstance(value, str))
    found += [name for key in flat if (loss := _LOSS.fullmatch(key)) for name in _beginnings(loss[1])]
    found += [name for key in _IMAGES for path in _paths(flat.get(key)) for name in code_in_path(path)]
    stages = tree.get("stages") or ()
    for stage in stages.values() if isinstance(stages, Mapping) else stages:
        found += code_in(stage) if isinstance(stage, Mapping) else []
    return found


def _beginnings(key: str) -> list[str]:
    """The module in the key of a loss, whose last parts may be options: `my_lab.huber.weight` → `my_lab.huber`, …"""
    return list(accumulate(key.split("."), "{}.{}".format))


def code_in_path(path: str) -> list[str]:
    """The code that a path of images names: a family (`generated:my_lab.checkers?images=9`) or a `py:` source."""
    if path.startswith(_GENERATED):
        return [path.removeprefix(_GENERATED).partition("?")[0]]
    return [path] if path.startswith(_OWN) else []


def _paths(value: Any) -> list[str]:
    """The paths in a value that is a path, a source, or a list of either."""
    entries = value if isinstance(value, list) else [value]
    paths = [entry.get("path") if isinstance(entry, Mapping) else entry for entry in entries]
    return [path for path in paths if isinstance(path, str)]
