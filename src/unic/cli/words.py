"""Parsing of the texts of options."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from unic.errors import InputError, first_line_of, nearest

TrustCode = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-code", metavar="NAME",
        help="Code to run although only a file names it: a module, or a URI without its options; repeatable.",
    ),
]  # fmt: skip


def uris_in(texts: list[str] | None) -> list[str]:
    """URIs separated by commas. A comma inside a URI (`mean=0.485,0.456,0.406`) has no scheme after it."""
    parts = [part for text in texts or [] for part in re.split(r",(?=\s*(?:[\w-]+=)?[a-z_]+:)", text)]
    return [part.strip(" ,") for part in parts if part.strip(" ,")]


def names_in(texts: list[str] | None) -> list[str]:
    """The names in an option that is separated by commas, or repeated."""
    return [part.strip() for text in texts or [] for part in text.split(",") if part.strip()]


def pair_in(text: str, what: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise InputError(f"{what} '{text}': expected NAME=PATH")
    return name, path


def sets_in(entries: list[str]) -> dict[str, str]:
    """Paths of evaluation sets by name. A name that is given twice is refused."""
    named: dict[str, str] = {}
    for name, path in (pair_in(entry, "--data") for entry in entries):
        if name in named:
            raise InputError(f"--data '{name}={path}': the name '{name}' is given twice; give one set another name")
        named[name] = path
    return named


def seeds_in(texts: list[str] | None) -> list[int] | None:
    return numbers_in(texts, "--seeds", example="0,1,2") if texts else None


def numbers_in(texts: list[str] | None, flag: str, *, example: str) -> list[int]:
    """The whole numbers in an option that is separated by commas, or repeated."""
    text = ",".join(texts or [])
    parts = text.split(",") if texts else []
    if not all(part.strip().isdigit() for part in parts):
        raise InputError(f"{flag} '{text}': expected whole numbers separated by commas, for example {example}")
    return [int(part) for part in parts]


def axis_in(text: str) -> tuple[str, list[Any]]:
    """Key and values of `KEY=[VALUE, VALUE]`, as typed.

    Raises:
        InputError: it is something else.
    """
    from omegaconf import OmegaConf

    key, equals, values = text.partition("=")
    try:
        found = OmegaConf.to_container(OmegaConf.create(f"values: {values}"), resolve=False)
    except Exception as error:  # PyYAML and OmegaConf raise many kinds, all of them the user's to see
        raise InputError(f"--vary '{text}': {first_line_of(error)}") from None
    listed = found.get("values") if isinstance(found, dict) else None
    if not (key and equals and isinstance(listed, list) and listed):
        raise InputError(f"--vary '{text}': expected KEY=[VALUE, VALUE], for example 'projector.blocks=[all, last]'")
    return key, listed


def model_called(name: str, models: dict[str, Any]) -> str:
    """The name of a model that is given by name or by URI."""
    for candidate, uri in models.items():
        if name in (candidate, uri):
            return candidate
    raise InputError(f"model '{name}' is not among those given{nearest(name, models)}")
