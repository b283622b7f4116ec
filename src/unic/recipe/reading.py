"""Recipe files as trees: found by name, merged with their bases, changed by overrides."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from unic._regular_files import read_text
from unic.errors import InputError, nearest, reason_of
from unic.lookup import COMPONENTS
from unic.recipe.files import RecipeFile
from unic.recipe.sections import ProjectorSection, StandardizeSection, WeightingSection
from unic.runs.folder import RunFolder

_PACKAGE = Path(__file__).parents[1]
_TEACHER_KEY = r"teachers\.models\.[^.]+"
_TEACHER = re.compile(rf"{_TEACHER_KEY}(\.uri)?")
_OWN_LOSS = re.compile(rf"{_TEACHER_KEY}\.loss")
_DEFAULT_TYPES = {
    "projector": ProjectorSection().type, "standardize": StandardizeSection().type, "weighting": WeightingSection().type
}  # fmt: skip
_NAMES = (*COMPONENTS, "loss")  # sections that a name alone may stand for
_LONG_FORMS: Sequence[tuple[re.Pattern[str], Callable[[Any], dict[str, Any]]]] = (  # by key of what may be short
    (re.compile(_TEACHER_KEY), lambda uri: {"uri": uri}),
    (re.compile("|".join(COMPONENTS)), lambda name: {"type": name}),
    (re.compile(rf"({_TEACHER_KEY}\.)?loss"), lambda name: {name: 1.0}),
    (re.compile(rf"({_TEACHER_KEY}\.)?loss\.[^.]+"), lambda weight: {"weight": weight}),
)


def changes(stage: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What a stage changes, by dotted key. A mapping changes the keys in it, but a teacher's `loss` is one value."""
    found: dict[str, Any] = {}
    for name, value in stage.items():
        key = f"{prefix}{name}"
        is_section = isinstance(value, Mapping) and not _OWN_LOSS.fullmatch(key)
        found |= changes(value, f"{key}.") if is_section else {key: value}
    return found


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key: `{train: {lr: 1}}` → `{"train.lr": 1}`. A list is one value."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def is_teacher(key: str) -> bool:
    """Whether a dotted key has the URI of a teacher as its value: `teachers.models.T` or `teachers.models.T.uri`."""
    return _TEACHER.fullmatch(key) is not None


def recipe_folder() -> Path:
    """The folder of the shipped recipes: inside the installed package, or at the root of a checkout."""
    installed = _PACKAGE / "recipes"
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "recipes"


def read_file(name: str) -> RecipeFile:
    path = Path(name)
    if not path.is_file():
        shipped = recipe_folder() / f"{name}.yaml"
        if not shipped.is_file():
            valid = [entry.stem for entry in recipe_folder().glob("*.yaml")]
            raise InputError(f"recipe '{name}': {_no_recipe(path)}{nearest(name, valid)}")
        path = shipped
    try:
        tree = OmegaConf.to_container(OmegaConf.create(read_text(path)), resolve=False)
    except Exception as error:  # PyYAML and OmegaConf raise many kinds, all of which the user must see
        raise InputError(f"recipe {path}: not valid YAML ({reason_of(error)})") from None
    if not isinstance(tree, dict) or not tree:
        raise InputError(f"recipe {path}: expected a mapping with at least teachers, student and data")
    return RecipeFile(f"recipe {path}", path.parent, {str(key): value for key, value in tree.items()})


def _no_recipe(path: Path) -> str:
    """Why a path cannot be a recipe."""
    if path.is_dir():
        run = RunFolder(path)
        return f"is a folder, not a YAML file{f'; its recipe is {run.recipe}' if run.is_begun else ''}"
    if path.parent != Path(".") and not path.parent.is_dir():
        return f"no such file, because the folder {path.parent} is missing, and no shipped recipe has this name"
    return "no such file, and no shipped recipe has this name"


def with_base(file: RecipeFile, files: list[RecipeFile], seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """The tree of a recipe file, merged over its base and that one's bases.

    Args:
        file: the recipe file.
        files: takes the file and its bases, in this order.
        seen: names of the bases so far, to find a circle.
    """
    tree = _named(file.tree)
    files.append(file._replace(folder=file.folder.absolute()))
    base = tree.get("base")
    if base is None:
        return tree
    beside = file.folder / str(base)
    name = str(beside) if beside.is_file() else str(base)
    if name in seen:
        raise InputError(f"recipe base '{base}': it inherits from itself")
    parent = with_base(read_file(name), files, (*seen, name))
    if "trackers" in tree:
        parent = {**parent, "trackers": tree["trackers"]}
    for section in ("teachers", "loss"):  # maps of names: a recipe that has one replaces its base's whole map
        if section in tree and section in parent:
            child = tree[section]
            if section == "loss":
                parent = {**parent, "loss": child}
            elif isinstance(child, dict) and "models" in child:
                parent = {**parent, "teachers": {**parent["teachers"], "models": child["models"]}}
    parent = _of_the_same_types(parent, tree)
    merged = OmegaConf.to_container(OmegaConf.merge(OmegaConf.create(parent), OmegaConf.create(tree)), resolve=False)
    assert isinstance(merged, dict)
    return {str(key): value for key, value in merged.items()}


def _of_the_same_types(base: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """The base without components of another type than the child's: their options mean nothing to that one."""
    kept = {}
    for key, value in base.items():
        if key in _DEFAULT_TYPES and isinstance(value, Mapping) and isinstance(child.get(key), Mapping):
            old = value.get("type", _DEFAULT_TYPES[key])
            if child[key].get("type", old) != old:
                continue
        kept[key] = value
    return kept


def replace(tree: Any, override: str) -> None:
    """Applies an override in place. It replaces the value: `teachers.models={…}` keeps no other teacher."""
    key = override.partition("=")[0]
    try:
        value: Any = OmegaConf.to_container(OmegaConf.from_dotlist([override]), resolve=False)
        for _ in filter(None, re.split(r"[.\[\]]+", key)):
            value = next(iter(value.values()))  # references in it are resolved later, with those of the recipe
        _write_out(tree, key)
        OmegaConf.update(tree, key, _named({key: value})[key], merge=False)
    except Exception as error:  # PyYAML and OmegaConf raise many kinds, all of which the user must see
        raise InputError(f"override '{_line(override)}': {_line(error)}") from None


def _write_out(tree: Any, key: str) -> None:
    """Gives what is written short, as a teacher's URI alone, the form that has options, so that `key` can be one."""
    value: Any = OmegaConf.to_container(tree, resolve=False)
    parts = [part for part in re.split(r"[.\[\]]+", key) if part]
    for depth, part in enumerate(parts[:-1], 1):
        value = value.get(part) if isinstance(value, Mapping) else None
        parent = ".".join(parts[:depth])
        if isinstance(value, str | int | float) and (long_form := _long_form(parent, value)) is not None:
            OmegaConf.update(tree, parent, long_form, merge=False)


def _named(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree in which a component or a loss that is a name alone is a mapping, so that an override may add to it."""
    return {
        key: _long_form(key, value) if key in _NAMES and value and isinstance(value, str) else value
        for key, value in tree.items()
    }


def _long_form(key: str, value: str | int | float) -> dict[str, Any] | None:
    """What is written short, in the form that has options; None where a key has no short form."""
    return next((form(value) for pattern, form in _LONG_FORMS if pattern.fullmatch(key)), None)


def _line(text: object) -> str:
    return " ".join(str(text).split())


def check_unicode(tree: dict[Any, Any], name: str) -> None:
    """Refuses text that is not UTF-8, such as old file names: a run writes its recipe as UTF-8."""
    try:
        json.dumps(tree, ensure_ascii=False, default=str, skipkeys=True).encode()
    except UnicodeEncodeError as error:
        shown = error.object[max(0, error.start - 20) : error.end + 20]
        raise InputError(f"{name}: expected UTF-8, found {shown!r}; give the file or folder another name") from None
