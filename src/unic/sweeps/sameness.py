"""Whether two recipes, suites or sets of images are the same: defaults may be left out, files may have moved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from unic.data.image_list import ImageList
from unic.data.sources._path_options import split_off
from unic.digest import sha256
from unic.errors import InputError
from unic.eval.datasets import DataPair
from unic.eval.plan import make_plan
from unic.eval.suite import load_suite
from unic.lookup import COMPONENTS
from unic.recipe.reading import leaves
from unic.recipe.schema import Recipe
from unic.training.identity import FREE_TO_CHANGE
from unic.training.places import without_places
from unic.training.same_words import component, loss

FREE = ("seed", *(key for key in FREE_TO_CHANGE if key != "eval" and not key.startswith("train.interpolate")))
"""Keys that change no number of a run, and the seed, which a sweep sets. Another end of the training, or another
student that leaves it, does change numbers."""


def content(recipe: Recipe) -> str:
    """The content of a recipe, with the default of every option; equal for recipes that are the same.

    Raises:
        InputError: a projector, standardiser, weighting or loss that does not exist.
        UntrustedError: one that is code of somebody else's and not trusted.
    """
    tree = recipe.model_dump(mode="json")
    for section in COMPONENTS:
        tree[section] = component(section, tree[section])
    for part in (tree, *tree["teachers"]["models"].values()):
        if isinstance(part, dict) and part["loss"]:
            part["loss"] = {name: loss(name, setting) for name, setting in part["loss"].items()}
    return json.dumps(_as_numbers(tree), sort_keys=True, default=str)


def recipe_digest(recipe: Recipe) -> str:
    """A hash of all in a recipe that decides the student of a training, so not of its seed, suite and paths.

    It has no defaults, so that a later version with further keys gives the same one.
    """
    return sha256(json.dumps([_decisive(plan) for plan in recipe.plans()], sort_keys=True))[:16]


def suite_digest(suite: str | Mapping[str, Any]) -> str:
    """A hash of all in a suite that decides a score, but for the paths of its sets, which may move.

    Args:
        suite: name or path of a suite, or the suite itself.

    Raises:
        InputError: no such suite, or the file is not a suite.
    """
    tree = load_suite(suite).model_dump(mode="json", exclude_defaults=True, exclude={"axes"})
    for key in tree.keys() & {"data", "unseen"}:
        tree[key] = [_without_path(spec) for spec in tree[key]]
    return sha256(json.dumps(_as_numbers(tree), sort_keys=True))[:16]


def images_digest(recipe: Recipe) -> str:
    """A hash of the training images of all stages, as a resume compares them: files may have moved.

    Raises:
        InputError: the images cannot be opened.
        UntrustedError: they are read by code that is not trusted.
    """
    sections = [plan.data for plan in recipe.plans()]
    lists = [ImageList.from_config(data.train, data.max_pixels, data.holdout) for data in sections]
    return sha256(*(images.portable_fingerprint() for images in lists))[:16]


def set_digests(suite: str | Mapping[str, Any]) -> dict[str, str]:
    """A hash of the images and labels of each evaluation set of a suite, by name of the set.

    Files may have moved. Sets that cannot be opened are left out.
    """
    try:
        plan = make_plan(load_suite(suite), skip_missing=True, opens_images=False)
    except InputError:
        return {}
    return {pair.name: _set_digest(pair) for pair in plan.pairs}


def _decisive(plan: Recipe) -> dict[str, Any]:
    """What decides the student of a stage, by dotted key, without defaults."""
    tree, whole = (plan.model_dump(mode="json", exclude_defaults=is_short) for is_short in (True, False))
    for section in COMPONENTS:
        defaults = component(section, {"type": whole[section]["type"]})
        tree[section] = _without(defaults, component(section, whole[section]), "type")
    tree["loss"] = whole["loss"]
    for part in (tree, *tree["teachers"]["models"].values()):
        if isinstance(part, dict) and part.get("loss"):
            part["loss"] = {
                name: _without(loss(name, 1), loss(name, setting), "weight") for name, setting in part["loss"].items()
            }
    found = leaves(without_places(tree))
    return {
        key: _as_numbers(value)
        for key, value in found.items()
        if not any(key == name or key.startswith(f"{name}.") for name in (*FREE, "eval.suite"))
    }


def _without(defaults: Mapping[str, Any], options: Mapping[str, Any], kept: str) -> dict[str, Any]:
    """Options that differ from their defaults, and one that is always kept."""
    return {key: value for key, value in options.items() if key == kept or value != defaults.get(key)}


def _set_digest(pair: DataPair) -> str:
    parts = [part for one in (pair, *pair.parts.values()) for part in (one.train, one.test)]
    return sha256(*(hashed for part in parts for hashed in (part.portable_fingerprint(), part.label_fingerprint())))[
        :16
    ]


def _without_path(spec: str) -> str:
    """A set's name and options: `NAME=PATH?test=0.2` → `NAME=?test=0.2`; a set without a path as it is."""
    name, equals, path = spec.partition("=")
    return spec if "?" in name else name + equals + path.removeprefix(split_off(path)[0])


def _as_numbers(value: Any) -> Any:
    """A tree in which 0 and 0.0 are one number."""
    if isinstance(value, Mapping):
        return {key: _as_numbers(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_numbers(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
