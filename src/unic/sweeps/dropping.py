"""A recipe without one of its teachers, as overrides: out of `teachers`, of the sources that name it, and of stages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unic.errors import InputError
from unic.recipe.schema import Recipe

_SOURCES = "data.train"
_OF_SOURCE = re.compile(r"data\.train(?:\[\d+\]|\.\d+)\.teachers")


def dropping(teacher: str, recipe: Recipe) -> Iterator[str]:
    """Overrides that take a teacher out of a recipe.

    Args:
        teacher: name of the teacher.
        recipe: the recipe, which has other teachers, too.

    Raises:
        InputError: the student learns from this teacher alone on some source of images.
    """
    tree = recipe.unresolved(recipe.model_dump(mode="json", include={"teachers", "data", "stages"}))
    rest = {name: entry for name, entry in tree["teachers"]["models"].items() if name != teacher}
    yield f"teachers.models={json.dumps(rest)}"
    sources = _without_in_sources(tree["data"]["train"], teacher, _SOURCES)
    if sources != tree["data"]["train"]:
        yield f"{_SOURCES}={json.dumps(sources)}"
    stages = [_without(stage, teacher, f"stages[{number}].", "") for number, stage in enumerate(tree["stages"])]
    if stages != tree["stages"]:
        yield f"stages={json.dumps(stages)}"


def _without(stage: Mapping[str, Any], teacher: str, where: str, prefix: str) -> dict[str, Any]:
    """A stage, or a section of one, without a teacher. Keys may be nested or dotted.

    Args:
        stage: what it changes.
        teacher: name of the teacher.
        where: begins a line about the stage.
        prefix: dotted key of the section, with a dot at its end.
    """
    kept: dict[str, Any] = {}
    for name, value in stage.items():
        key = f"{prefix}{name}"
        if f"{key}.".startswith(f"teachers.models.{teacher}."):
            continue
        rest = value
        if isinstance(value, Mapping):
            rest = _without(value, teacher, where, f"{key}.")
        elif key == _SOURCES and isinstance(value, list):
            rest = _without_in_sources(value, teacher, f"{where}{key}")
        elif _OF_SOURCE.fullmatch(key):
            rest = _others(value, teacher, f"{where}{key}")
        if rest != {} or rest == value:
            kept[name] = rest
    return kept


def _without_in_sources(sources: Sequence[Any], teacher: str, key: str) -> list[Any]:
    """Sources, of which one may be a path alone, without the teacher in their `teachers`."""
    return [
        {**source, "teachers": _others(source["teachers"], teacher, f"{key}[{number}].teachers")}
        if isinstance(source, Mapping) and "teachers" in source
        else source
        for number, source in enumerate(sources)
    ]


def _others(names: Any, teacher: str, key: str) -> Any:
    """The names in `teachers` of a source but that of the teacher; null stays null."""
    if not isinstance(names, list) or teacher not in names:
        return names
    if len(names) == 1:
        raise InputError(
            f"'{key}' names '{teacher}' alone, so without it the student learns nothing on these images; name "
            "another teacher there, too, or write the variants yourself"
        )
    return [name for name in names if name != teacher]
