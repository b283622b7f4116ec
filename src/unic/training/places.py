"""Paths in a recipe: a run can be resumed after its files have moved, and from another working folder.

Two runs are the same if their files have the same content (`identity.check_same`). A recipe has paths of images, of
weight files (in URIs), of a cache and of a suite.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from unic.data.sample_images import exists, sample_places
from unic.data.sources._path_options import COMPUTED, split_off
from unic.encoders import parse_uri
from unic.errors import InputError
from unic.recipe.reading import is_teacher
from unic.recipe.schema import Recipe
from unic.runs.state import PLACES, RunState

_FILES = ("onnx", "run", "safetensors", "torchscript")  # schemes whose names are paths
_IMAGES = ("data.train", "data.train.path", "data.validation")
_PATHS = ("teachers.cache.dir", "eval.suite")
_SETS = ("eval.suite.data", "eval.suite.unseen")  # of a suite that the recipe writes itself: `NAME=PATH`
_CHECKPOINT = re.compile(r"([?&]checkpoint=)[^&]*")

Change = Callable[[str, str], str]  # from a key and its text to the new text


class Places:
    """The working folder of a run, and the environment variables that its recipe named. Saved, but not restored."""

    def __init__(self, recipe: Recipe) -> None:
        self._written = recipe.written

    def state_dict(self) -> dict[str, Any]:
        return {"folder": os.getcwd(), "written": dict(self._written)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores nothing: a resumed run has a working folder and an environment of its own."""


def folder_of(state: RunState | None) -> Path | None:
    """The working folder of the command that wrote a checkpoint; None if an earlier version, which did not save it."""
    folder = (state or {}).get(PLACES, {}).get("folder")
    return Path(folder) if isinstance(folder, str) else None


def written_in(state: RunState | None) -> Mapping[str, Any]:
    """The environment variables that the recipe named when a checkpoint was written."""
    written: Mapping[str, Any] = (state or {}).get(PLACES, {}).get("written", {})
    return written


def found_from(recipe: Recipe, folder: Path | None = None) -> Recipe:
    """The recipe, with relative paths that do not exist from here made absolute if they exist elsewhere.

    They are looked for below `folder`, then beside the recipe and its bases; `samples/…` also in a checkout of unic.
    """
    folders = [place for place in (folder, *recipe.folders) if place and place != Path.cwd()]
    written: dict[str, str] = {}

    def noted(key: str, text: str) -> str:
        found = settled(key, text)
        if found != text and text in recipe.written:
            written[found] = recipe.shared(found)
        return found

    def settled(key: str, text: str) -> str:
        if key in _IMAGES:
            prefix = "stream:" if text.startswith("stream:") else ""
            return prefix + _absolute(text.removeprefix(prefix), folders, sample_places)
        if key in _PATHS:
            return _absolute(text, folders) if key != "eval.suite" or Path(text).suffix else text
        if key in _SETS:
            name, equals, path = text.partition("=")
            return name + equals + (_absolute(path, folders, sample_places) if path and "?" not in name else path)
        return _with_file(text, lambda path: _absolute(path, folders))

    tree = recipe.model_dump(mode="json")
    changed = _changed(tree, noted)
    if changed == tree:
        return recipe
    return Recipe.model_validate(changed).read_as(recipe).written_as(written)


def without_places(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as a tree, without its paths."""

    def hidden(key: str, text: str) -> str:
        if key in _IMAGES or key in _PATHS or key in _SETS:
            return ""
        return _with_file(text, lambda _: "")

    found: dict[str, Any] = _changed(tree, hidden)
    return found


def moves(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each path that differs between two recipes that are the same `without_places`."""
    was, now = dict(_places(old)), dict(_places(new))
    return [f"{key}: {now[key]} (was {was[key]})" for key in was.keys() & now.keys() if was[key] != now[key]]


def _places(tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def note(key: str, text: str) -> str:
        found.append((f"{key} {sum(name.startswith(key) for name, _ in found) + 1}", text))
        return text

    _changed(tree, note)
    return found


def _changed(value: Any, change: Change, key: str = "") -> Any:
    """The tree with `change` made to each text that names a file. Stages, and dotted keys in them, are sections."""
    if isinstance(value, Mapping):
        return {name: _changed(part, change, f"{key}.{name}".lstrip(".")) for name, part in value.items()}
    if isinstance(value, list):
        return [_changed(part, change, "" if key == "stages" else key) for part in value]
    is_place = key in (*_IMAGES, *_PATHS, *_SETS, "student.model") or is_teacher(key)
    return change(key, value) if isinstance(value, str) and is_place else value


def _with_file(uri: str, change: Callable[[str], str]) -> str:
    """A URI with the path of its file changed; a URI without a file as it is."""
    try:
        spec = parse_uri(uri)
    except InputError:
        return uri  # reported when the model is loaded
    if spec.scheme in _FILES:
        return f"{spec.scheme}:{change(spec.name)}{uri[len(spec.scheme) + 1 + len(spec.name) :]}"
    if "checkpoint" not in spec.options:
        return uri
    path = change(spec.options["checkpoint"])
    changed = quote(path, safe="/,:+=~ ") if path != spec.options["checkpoint"] else ""
    return _CHECKPOINT.sub(lambda found: found[1] + changed, uri) if changed or not path else uri


def _absolute(path: str, folders: Sequence[Path], others: Callable[[str], list[Path]] = lambda _: []) -> str:
    """The path if it exists from here, else the first one of `folders` and `others` that exists, else the path."""
    if "://" in path or not path or path.startswith(COMPUTED) or _exists(path):
        return path
    places = [*(folder / path for folder in folders), *others(path)]
    return next((str(place) for place in places if _exists(str(place))), path)


def _exists(path: str) -> bool:
    """Whether a path exists, which may be a pattern or end with options."""
    return exists(split_off(path)[0])
