"""The keys of a recipe and of results.json: JSON schemas for editors and programs, and the page docs/recipe.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from unic.eval.results.schema import Results
from unic.recipe.keys import is_map, section_of
from unic.recipe.schema import Recipe

_INTRODUCTION = """# Recipe

Every key, its default and what it means. `unic schema --markdown` prints this page; `unic schema` prints the keys as a
JSON schema, for editors that complete and check YAML. A key on the command line is dotted (`train.lr=1e-4`,
`teachers.cache.views=4`). `${key}` stands for another key's value and `${oc.env:NAME}` (or `${oc.env:NAME,default}`)
for an environment variable, in a recipe and on the command line, there in single quotes:
`'data.train=${oc.env:IMAGES}/birds'`. `recipe.yaml`, export, model card, report, `results.json` and trackers name the
variable, not its value, so they may be shared; `checkpoints/`, `train.log`, `damaged.json` and `non_finite/` of a run
may hold the value. `projector`, `standardize` and `weighting` may be a name alone: `weighting: uniform` is short for
`weighting: {type: uniform}`. Code that a recipe names (a dotted module, a `py:` encoder) runs with `--trust-code NAME`,
or without it where an override names it ([more](extending.md#whose-code-runs)).
"""


def as_json() -> str:
    return json.dumps(Recipe.model_json_schema(), indent=1)


def results_as_json() -> str:
    return json.dumps(Results.model_json_schema(), indent=1)


def as_markdown() -> str:
    """One table for the recipe and one for each section."""
    parts = [_INTRODUCTION]
    for name, section in _sections(Recipe, ""):
        title = f"## `{name}`\n{_line(section.__doc__)}\n" if name else "## The whole"
        rows = [f"| `{key}` | {_default(field)} | {_text(field)} |" for key, field in section.model_fields.items()]
        parts.append("\n".join([title, "| key | default | |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def _sections(section: type[BaseModel], name: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield name, section
    for key, field in section.model_fields.items():
        if inner := section_of(field.annotation):
            named = ".NAME" if is_map(field.annotation) else ""
            yield from _sections(inner, f"{name}.{key}{named}".strip("."))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, BaseModel):
        return "see below"
    return f"`{json.dumps(field.default)}`".replace('"', "")


def _text(field: FieldInfo) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    values = f"{', '.join(f'`{choice}`' for choice in choices)}. " if choices else ""
    section = section_of(field.annotation)
    return values + _line(field.description or (section and section.__doc__))


def _line(text: Any) -> str:
    return " ".join(str(text or "").split())
