"""Code that a user typed: what overrides and flags of a recipe name. What the recipe's file names does not count."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from omegaconf import OmegaConf

from unic.recipe.reading import COMPONENTS, is_teacher, leaves
from unic.trust import typed

_ONE = ("student.model", *COMPONENTS, *(f"{name}.type" for name in COMPONENTS))
_LOSSES = "loss."
_OWN_LOSS = re.compile(r"teachers\.models\.[^.]+\.loss\.(.+)")
_GENERATED = "generated:"


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
    found = [value for key, value in flat.items() if key in _ONE or is_teacher(key)]
    found = typed(value for value in found if isinstance(value, str))
    found += [key.removeprefix(_LOSSES) for key in flat if key.startswith(_LOSSES)]
    found += [name for key in flat if (own := _OWN_LOSS.fullmatch(key)) for name in _beginnings(own[1])]
    found += [name for path in _paths(flat.get("data.train")) for name in code_in_path(path)]
    stages = tree.get("stages") or ()
    for stage in stages.values() if isinstance(stages, Mapping) else stages:
        found += code_in(stage) if isinstance(stage, Mapping) else []
    return found


def _beginnings(key: str) -> list[str]:
    """The module in the key of a loss, whose last parts may be options: `my_lab.huber.weight` → `my_lab.huber`, …"""
    return list(accumulate(key.split("."), "{}.{}".format))


def code_in_path(path: str) -> list[str]:
    """The family in a path of generated images, `generated:my_lab.checkers?images=9`; empty for other paths."""
    return [path.removeprefix(_GENERATED).partition("?")[0]] if path.startswith(_GENERATED) else []


def _paths(train: Any) -> list[str]:
    """The paths in `data.train`, which is a path, a source, or a list of either."""
    entries = train if isinstance(train, list) else [train]
    paths = [entry.get("path") if isinstance(entry, Mapping) else entry for entry in entries]
    return [path for path in paths if isinstance(path, str)]
