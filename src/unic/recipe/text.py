"""A new recipe as YAML with the schema's descriptions. Sections and keys that are not set are comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_origin

from omegaconf import OmegaConf
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from unic.recipe.base import Component
from unic.recipe.schema import Recipe

_WIDTH = 100
_HEAD = "A key with # before it has its default. unic check shows what this needs, unic distill trains it."
_INDENT = "  "


def commented(tree: Mapping[str, Any]) -> str:
    """The recipe with comments.

    Args:
        tree: the keys that are set. All others have the schema's defaults.
    """
    fields = Recipe.model_fields
    parts = {key: field.default for key, field in fields.items() if isinstance(field.default, dict)}
    lines = [*_comment(_HEAD, "")]
    for key, field in fields.items():
        lines += ["", *_entry(key, field, {**parts, **tree}, "")]
    return "\n".join(lines) + "\n"


def _entry(key: str, field: FieldInfo, tree: Mapping[str, Any], indent: str) -> Iterator[str]:
    """A key with its comment. A section without a value shows all its keys as comments."""
    kind = field.annotation
    # On Python 3.10 `list[int]` passes for a class.
    section = kind if isinstance(kind, type) and get_origin(kind) is None else None
    if section is not None and issubclass(section, Component):
        yield from _comment(section.model_fields["type"].description or "", indent)
        yield from _value(key, tree.get(key, {"type": field.default.type}), indent)
    elif section is not None and issubclass(section, BaseModel):
        yield from _comment(section.__doc__ or "", indent)
        inner = tree.get(key) or {}
        yield f"{indent}{key}:" if inner else f"{indent}# {key}:"
        for name, part in section.model_fields.items():
            yield from _entry(name, part, inner, indent + _INDENT)
    else:
        yield from _comment(field.description or "", indent)
        if key in tree:
            yield from _value(key, tree[key], indent)
        else:
            yield from (f"{indent}# {line}" for line in _value(key, field.get_default(), ""))


def _value(key: str, value: Any, indent: str) -> Iterator[str]:
    text = OmegaConf.to_yaml(OmegaConf.create({key: value})).rstrip()
    yield from (indent + line for line in text.splitlines())


def _comment(text: str, indent: str) -> Iterator[str]:
    lines = textwrap.wrap(" ".join(text.split()), _WIDTH - len(indent) - 2, break_long_words=False)
    yield from (f"{indent}# {line}" for line in lines)
