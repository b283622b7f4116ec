"""A name in a recipe is the module of that name: `cosine` → `unic.losses.cosine`, `my_lab.huber` → that dotted path."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from unic.errors import InputError, nearest


def names(package: str) -> list[str]:
    """The public modules of a package, without importing any of them."""
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def module(package: str, name: str, *, exclude: frozenset[str] = frozenset({"base"})) -> ModuleType:
    """The module that `name` stands for: one of `package`, or any importable dotted path.

    Raises:
        InputError: no such module; the line carries the nearest valid name.
    """
    valid = [entry for entry in names(package) if entry not in exclude]
    plural = package.rpartition(".")[2]
    kind = "loss" if plural == "losses" else plural.removesuffix("s")
    if name in valid:
        return importlib.import_module(f"{package}.{name}")
    if "." in name and all(part.isidentifier() for part in name.split(".")):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise InputError(f"{kind} '{name}': cannot import it ({error})") from None
    raise InputError(f"unknown {kind} '{name}'{nearest(name, valid)}")


def entry(package: str, name: str, attribute: str) -> Any:
    """The fixed entry point (`attribute`) of the module that `name` stands for."""
    found = module(package, name)
    if not hasattr(found, attribute):
        raise InputError(f"module '{found.__name__}' has no '{attribute}', the entry point of {package}")
    return getattr(found, attribute)


def check_options(target: Callable[..., Any], options: Mapping[str, Any], where: str) -> None:
    """Refuses options that `target` does not take, with the nearest one that it does.

    Only keyword-only parameters are options; positional ones are given by the caller.
    """
    parameters = inspect.signature(target).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    valid = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    for key in options:
        if key not in valid:
            raise InputError(f"{where}: unknown option '{key}'{nearest(key, valid)}")


def first_line(found: ModuleType) -> str:
    """The first line of a module's docstring, for `unic list`."""
    return (found.__doc__ or "").strip().partition("\n")[0]
