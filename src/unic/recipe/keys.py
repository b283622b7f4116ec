"""The keys of a schema, and the valid key that an unknown one may have meant, in any section."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from unic.errors import nearest

_CLEARLY = 0.15  # a key of another section must be more similar by this much than one of the same section
_SIMILAR = 0.7  # least similarity of a key of another section


def meant(schema: type[BaseModel], location: Sequence[int | str]) -> str:
    """Ending of the line about an unknown key: `; did you mean 'train.lr'?`, else the keys of its section.

    A key of the same section is named by its last part, a key of another section by all parts.

    Args:
        schema: schema of the whole file.
        location: path of the unknown key, as pydantic gives it: names, and indices in lists.
    """
    *parents, name = location
    word = str(name)
    section = _section_at(schema, parents)
    own = list(section.model_fields) if section else []
    others = {key: key.rpartition(".")[2] for key in dotted(schema)}
    exact = [key for key, last in others.items() if _plain(last) == _plain(word)]
    if exact and not any(_plain(key) == _plain(word) for key in own):
        either = "' or '".join(exact[:3])
        return f"; did you mean '{either}'?"
    here, there = _closest(word, own), _closest(word, others.values())
    if there[0] >= max(_SIMILAR, here[0] + _CLEARLY):
        key = next(key for key, last in others.items() if last == there[1])
        return f"; did you mean '{key}'?"
    return nearest(word, own)


def first_error(errors: Sequence[ErrorDetails]) -> ErrorDetails:
    """The error to show: an unknown key comes before a missing one, of which it may be a misspelling."""
    return min(errors, key=lambda error: error["type"] != "extra_forbidden")


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation names: `Section`, `Section | None`, `list[Section]` or `dict[str, Section]`."""
    kinds = [annotation, *get_args(annotation)]
    kinds = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds]
    kinds = [kind for kind in kinds if get_origin(kind) is None]  # on Python 3.10 `tuple[int]` passes for a class
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def is_map(annotation: Any) -> bool:
    """Whether the keys of a section's field are names that the user gives."""
    return get_origin(annotation) is dict


def _section_at(schema: type[BaseModel], parents: Sequence[int | str]) -> type[BaseModel] | None:
    section: type[BaseModel] | None = schema
    rest = iter(parents)
    for part in rest:
        if isinstance(part, str) and section is not None:
            field = section.model_fields.get(part)
            section = section_of(field.annotation) if field else None
            if field and is_map(field.annotation):
                next(rest, None)  # a name of the user's
    return section


def dotted(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key as a dotted one. Keys inside lists and below names of the user's are left out."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}"
        inner = section_of(field.annotation)
        if inner and get_origin(field.annotation) not in (list, dict):
            yield from dotted(inner, f"{prefix}{name}.")


def _closest(word: str, names: Iterable[str]) -> tuple[float, str]:
    """The similarity of the name that is closest to a word, and this name."""
    ratios = [(difflib.SequenceMatcher(None, name, word).ratio(), name) for name in names]
    return max(ratios, default=(0.0, ""))


def _plain(key: str) -> str:
    return key.lower().replace("-", "").replace("_", "")
