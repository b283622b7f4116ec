"""Comparison of two paths of images: whether they share files, by location only; no file is opened."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from unic.data.sources import expanded
from unic.data.sources._path_options import COMPUTED, split_off
from unic.data.sources._splits import all_filled


def share_files(path: str, other: str) -> bool:
    """Whether a file or folder of one path is, or lies in, a file or folder of the other.

    Paths are as for `open_source`. Patterns and `{split}` stand for all that they name; options are ignored. URLs and
    names on the hub share files if they are equal.
    """
    mine, others = _places(path), _places(other)
    return any(not others.isdisjoint((place, *place.parents)) for place in mine) or any(
        not mine.isdisjoint(place.parents) for place in others
    )


def _places(path: str) -> set[Path]:
    """The files and folders of a path, resolved."""
    if path.startswith(COMPUTED):  # which files a function reads is not known
        return set()
    named = split_off(path.removeprefix("stream:"))[0]
    splits = all_filled(named) if "{split}" in named else [named]
    return {place for split in splits for name in expanded(split) for place in _matches(os.path.expanduser(name))}


def _matches(pattern: str) -> set[Path]:
    if os.path.exists(pattern):
        return {Path(pattern).resolve()}
    return {Path(match).resolve() for match in glob.glob(pattern, recursive=True)} or {Path(pattern)}
