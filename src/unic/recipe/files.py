"""The files that a recipe was read from, to name the one that holds a mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from unic.errors import InputError

UNNAMED = "recipe"  # begins a line about an override, or about a recipe that was not read from a file


class RecipeFile(NamedTuple):
    """`name` begins a line about the file, `recipe birds.yaml`; `tree` is its content without its base."""

    name: str
    folder: Path
    tree: Mapping[str, Any]


def holder(files: Sequence[RecipeFile], overrides: Sequence[str], location: Sequence[int | str]) -> str:
    """The beginning of a line about a key: names the file that holds the key, or the longest part of its path.

    Args:
        files: the recipe, then its bases.
        overrides: `key=value`. A key that one of them sets is in no file.
        location: path of the key: names, and indices in lists.
    """
    for override in overrides:
        typed = [part for part in re.split(r"[.\[\]]+", override.partition("=")[0]) if part]
        if all(part == str(own) for part, own in zip(typed, location, strict=False)):
            return UNNAMED
    # `max` takes the first of equals: a recipe comes before its base.
    return max(files, key=lambda file: _depth(file.tree, location)).name if files else UNNAMED


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Gives errors about a recipe this name, where the code that raises them does not know its file."""
    try:
        yield
    except InputError as error:
        rest = error.text.removeprefix(f"{UNNAMED}:")
        if rest == error.text or name == UNNAMED:
            raise
        raise error.reworded(f"{name}:{rest}", error.remedy) from None


def _depth(tree: Any, location: Sequence[int | str]) -> int:
    """How many parts of a key's path are in the tree."""
    for depth, part in enumerate(location):
        is_there = part in tree if isinstance(tree, Mapping) else isinstance(tree, list) and part in range(len(tree))
        if not is_there:
            return depth
        tree = tree[part]
    return len(location)
