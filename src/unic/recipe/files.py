"""The files that a recipe was read from: which of them a mistake is in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from unic.errors import InputError

UNNAMED = "recipe"  # what begins a line about a recipe that is not of a file, or about an override


class RecipeFile(NamedTuple):
    """`name` begins a line about it: `recipe birds.yaml`; `tree` is what it says without its base."""

    name: str
    folder: Path
    tree: Mapping[str, Any]


def holder(files: Sequence[RecipeFile], overrides: Sequence[str], location: Sequence[int | str]) -> str:
    """What begins the line about a key: the file that holds it, or most of its way; no file if an override sets it.

    Args:
        files: the recipe, then its bases.
        location: names of keys, and places in lists.
    """
    for override in overrides:
        typed = [part for part in re.split(r"[.\[\]]+", override.partition("=")[0]) if part]
        if all(part == str(own) for part, own in zip(typed, location, strict=False)):
            return UNNAMED
    # The first of equals: what a recipe says itself stands above its base.
    return max(files, key=lambda file: _depth(file.tree, location)).name if files else UNNAMED


@contextmanager
def naming(name: str) -> Iterator[None]:
    """A block whose lines about a recipe, of parts that do not know where it was read, begin with this name."""
    try:
        yield
    except InputError as error:
        rest = str(error).removeprefix(f"{UNNAMED}:")
        if rest == str(error) or name == UNNAMED:
            raise
        raise type(error)(f"{name}:{rest}") from None


def _depth(tree: Any, location: Sequence[int | str]) -> int:
    """How many parts of the way there are."""
    for depth, part in enumerate(location):
        is_there = part in tree if isinstance(tree, Mapping) else isinstance(tree, list) and part in range(len(tree))
        if not is_there:
            return depth
        tree = tree[part]
    return len(location)
