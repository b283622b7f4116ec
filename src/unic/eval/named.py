"""Names of columns for the models that a user gives: one or several, with names or without."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from unic.encoders import Encoder, uri_of
from unic.errors import InputError

Given = str | Path | Encoder
"""A model as a user gives it: a URI, the folder of a run or of an export, or an encoder."""


def by_name(models: Given | Sequence[Given] | Mapping[str, Given]) -> dict[str, str | Encoder]:
    """Models by the name of their column, in the order in which they are given.

    Args:
        models: one model, several, or several by name. A text `NAME=URI` has a name, unless the `=` follows a `:`, `?`
            or `/`, or the text is the name of a folder such as `lr=1e-4`. Other models get a name from their URI.

    Raises:
        InputError: two models with the same name, or a name without a model.
    """
    if isinstance(models, Mapping):
        return {name: _plain(model) for name, model in models.items()}
    pairs = [_pair(model) for model in ([models] if isinstance(models, str | Path | Encoder) else models)]
    made = iter(unique_names([_shown(model) for name, model in pairs if name is None]))
    named: dict[str, str | Encoder] = {}
    for own, model in pairs:
        name = next(made) if own is None else own
        if name in named:
            raise InputError(f"model '{name}' is given twice; give one of them another name with NAME=URI")
        named[name] = _plain(model)
    return named


def _pair(model: Given) -> tuple[str | None, Given]:
    """Name and model; the name is None if the user gave none."""
    if not isinstance(model, str):
        return None, model
    name, equals, uri = model.partition("=")
    if not equals or set(":?/") & set(name) or os.path.isdir(model.partition("?")[0]):
        return None, model
    if not name or not uri:
        raise InputError(f"model '{model}': expected NAME=URI")
    return name, uri


def _plain(model: Given) -> str | Encoder:
    return uri_of(model) if isinstance(model, Path) else model


def _shown(model: Given) -> str:
    """The text from which the name of a model is made."""
    return (model.uri or type(model).__name__) if isinstance(model, Encoder) else str(model)


def unique_names(uris: Sequence[str]) -> dict[str, str]:
    """URIs by the name of their column: the short name, with a suffix `-2`, `-3` if several have the same."""
    named: dict[str, str] = {}
    for uri in uris:
        named[free_name(short_name(uri), named)] = uri
    return named


def free_name(name: str, taken: Container[str]) -> str:
    """The name itself; `name-2`, `name-3`, … if it is taken."""
    free, suffix = name, 2
    while free in taken:
        free, suffix = f"{name}-{suffix}", suffix + 1
    return free


def short_name(uri: str) -> str:
    """A column's name for a URI: the part after the scheme, without options and folders."""
    place = uri.partition("?")[0].removeprefix("run:")
    last = place.rstrip("/").rpartition("/")[2]
    # The name of a folder may contain colons, as in a time.
    return (last if os.path.isdir(place) else last.rpartition(":")[2]) or uri
