"""Models as a user gives them, one or several, with names or without: each gets the name of its column."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from unic.encoders import Encoder, uri_of
from unic.errors import InputError

Given = str | Path | Encoder
"""What stands for a model: a URI, the folder of a run or of an export, or an encoder."""


def by_name(models: Given | Sequence[Given] | Mapping[str, Given]) -> dict[str, str | Encoder]:
    """Models by the name of their column, in the order in which they are given.

    Args:
        models: one, several, or several by name. A text `NAME=URI` has a name; a `=` behind a `:`, `?` or `/` is an
            option's, and a folder may be called `lr=1e-4`. For the others names are made from what they are.

    Raises:
        InputError: two models of one name, or a name without a model.
    """
    if isinstance(models, Mapping):
        return {name: _plain(model) for name, model in models.items()}
    pairs = [_pair(model) for model in ([models] if isinstance(models, str | Path | Encoder) else models)]
    made = iter(unique_names([_shown(model) for name, model in pairs if name is None]))
    named: dict[str, str | Encoder] = {}
    for own, model in pairs:
        name = next(made) if own is None else own
        if name in named:
            raise InputError(f"model '{name}' is given twice; NAME=URI gives one of them another name")
        named[name] = _plain(model)
    return named


def _pair(model: Given) -> tuple[str | None, Given]:
    """Name and model; None where no name is given."""
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
    """What a name is made from."""
    return (model.uri or type(model).__name__) if isinstance(model, Encoder) else str(model)


def unique_names(uris: Sequence[str]) -> dict[str, str]:
    """A column's name for every URI: its short name, with a number where several have the same."""
    named: dict[str, str] = {}
    for uri in uris:
        name, number = short_name(uri), 2
        while name in named:
            name, number = f"{short_name(uri)}-{number}", number + 1
        named[name] = uri
    return named


def short_name(uri: str) -> str:
    """A column's name for a URI: what comes after the scheme, without options and folders."""
    place = uri.partition("?")[0].removeprefix("run:")
    last = place.rstrip("/").rpartition("/")[2]
    return (last if os.path.isdir(place) else last.rpartition(":")[2]) or uri  # a folder may be named by a time
