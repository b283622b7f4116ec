"""Whether two paths of images lead to the same files, told by where they lie: nothing is opened."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from unic.data.sources import expanded
from unic.data.sources._path_options import split_off
from unic.data.sources._splits import all_filled


def share_files(path: str, other: str) -> bool:
    """Whether a file or folder that one path names is, or lies in, one that the other names.

    Paths are as for `open_source`: patterns and `{split}` stand for all that they name, options do not count. Of names
    on a hub and of URLs, equal ones are the same.
    """
    mine, others = _places(path), _places(other)
    return any(not others.isdisjoint((place, *place.parents)) for place in mine) or any(
        not mine.isdisjoint(place.parents) for place in others
    )


def _places(path: str) -> set[Path]:
    if path.startswith("generated:"):  # drawn, in no file; what looks like options of a path are the family's
        return set()
    named = split_off(path.removeprefix("stream:"))[0]
    parts = all_filled(named) if "{split}" in named else [named]
    return {place for part in parts for pattern in expanded(part) for place in _found(os.path.expanduser(pattern))}


def _found(pattern: str) -> set[Path]:
    if os.path.exists(pattern):
        return {Path(pattern).resolve()}
    return {Path(found).resolve() for found in glob.glob(pattern, recursive=True)} or {Path(pattern)}
