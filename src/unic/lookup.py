"""A name in a recipe is the module of that name: `cosine` → `unic.losses.cosine`, `my_lab.huber` → that dotted path.

A dotted path names code from outside unic, which is imported only if it is trusted (`unic.trust`).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any, TypeVar

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from unic import trust
from unic.errors import InputError, nearest

COMPONENTS = {
    "projector": ("unic.projectors", "Projector"),
    "standardize": ("unic.standardizers", "Standardizer"),
    "weighting": ("unic.weightings", "Weighting"),
}
"""Package and class of each component, by its key in the recipe."""
_ANY_TYPE = ConfigDict(arbitrary_types_allowed=True)
_Base = TypeVar("_Base")


def names(package: str) -> list[str]:
    """The public modules of a package, without importing any of them."""
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def module(package: str, name: str, *, exclude: frozenset[str] = frozenset({"base"})) -> ModuleType:
    """The module that `name` stands for: one of `package`, or any importable dotted path.

    Raises:
        InputError: no such module; the line names the nearest valid one.
        UntrustedError: a dotted path that is not trusted.
    """
    path = _path(package, name, exclude)
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if not is_dotted(name):
            raise
        raise InputError(f"{_kind(package)} '{name}': cannot import it ({error})") from None


def check_name(package: str, name: str) -> None:
    """Refuses the names that `module` refuses, without importing anything. Arguments and errors are the same."""
    _path(package, name, frozenset({"base"}))


def name_of(part: object) -> str:
    """The name of a part in a recipe, which its module stands for."""
    path = type(part).__module__
    return path.rpartition(".")[2] if path.startswith("unic.") else path


def is_dotted(name: str) -> bool:
    """Whether a name is the dotted path of a module outside unic."""
    return "." in name and all(part.isidentifier() for part in name.split("."))


def _path(package: str, name: str, exclude: frozenset[str]) -> str:
    valid = [entry for entry in names(package) if entry not in exclude]
    if name in valid:
        return f"{package}.{name}"
    if not is_dotted(name):
        raise InputError(f"unknown {_kind(package)} '{name}'{nearest(name, valid)}")
    trust.require(f"{_kind(package)} '{name}'", name)
    return name


def _kind(package: str) -> str:
    plural = package.rpartition(".")[2]
    return "loss" if plural == "losses" else plural.removesuffix("s")


def entry(package: str, name: str, attribute: str) -> Any:
    """The fixed entry point (`attribute`) of the module that `name` stands for."""
    found = module(package, name)
    if not hasattr(found, attribute):
        raise InputError(f"module '{found.__name__}' has no '{attribute}', the entry point of {package}")
    return getattr(found, attribute)


def subclass(package: str, name: str, attribute: str, base: type[_Base]) -> type[_Base]:
    """The class that is the entry point (`attribute`) of the module that `name` stands for.

    Raises:
        InputError: there is none, or it is no subclass of `base`.
    """
    kind = entry(package, name, attribute)
    if not (isinstance(kind, type) and issubclass(kind, base)):
        path = f"{base.__module__}.{base.__name__}".replace("nn.modules.module.", "nn.")  # as everyone imports it
        raise InputError(f"{_kind(package)} '{name}': its '{attribute}' must be a subclass of {path}")
    return kind


def component(section: str, name: str, options: Mapping[str, Any], base: type[_Base]) -> type[_Base]:
    """The class of a recipe's component, which takes the options.

    Args:
        section: key of the component in the recipe.
        name: its `type`.
        options: its other keys.
        base: the class that it must inherit from.

    Raises:
        InputError: no such class, or options or values that it does not take.
    """
    package, attribute = COMPONENTS[section]
    kind = subclass(package, name, attribute, base)
    check_component(kind, section, name, options)
    check_values(kind.__init__, options, f"recipe: {_kind(package)} '{name}'")
    return kind


def factory(where: str, uri: str) -> Callable[..., Any]:
    """The function or class that a URI `py:PACKAGE.MODULE:FACTORY[?option=…]` names.

    Args:
        where: begins the line: what the URI is for, and the URI.
        uri: the URI.

    Raises:
        InputError: no such module, function or class; the line names the nearest one.
        UntrustedError: neither the URI nor the module is trusted.
    """
    path, _, name = uri.partition("?")[0].removeprefix("py:").partition(":")
    if not path or not name:
        raise InputError(f"{where}: expected py:PACKAGE.MODULE:FACTORY")
    trust.require(where, uri, path)
    try:
        found = importlib.import_module(path)
    except ModuleNotFoundError as error:
        raise InputError(f"{where}: cannot import it ({error})") from None
    made_by: Callable[..., Any] | None = getattr(found, name, None)
    if not callable(made_by):
        valid = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
        raise InputError(f"{where}: no function or class '{name}' in {path}{nearest(name, valid)}")
    return made_by


def check_options(
    target: Callable[..., Any], options: Mapping[str, Any], where: str, *, passed: Collection[str] = ()
) -> None:
    """Refuses options that `target` does not take, and the lack of one that has no default.

    Only keyword-only parameters are options. The caller passes the positional ones.

    Args:
        target: a function or a class.
        options: the given ones.
        where: begins the line.
        passed: keyword-only parameters that the caller passes, too.
    """
    _check_known(target, options, where)
    check_needed(target, {*options, *passed}, where)


def check_needed(target: Callable[..., Any], given: Collection[str], where: str) -> None:
    """Refuses the lack of an option that has no default. Arguments are those of `check_options`."""
    parameters = inspect.signature(target).parameters
    for name in options_of(target):
        if parameters[name].default is inspect.Parameter.empty and name not in given:
            raise InputError(f"{where}: needs the option '{name}', which has no default")


def _check_known(target: Callable[..., Any], options: Mapping[str, Any], where: str) -> None:
    """Refuses options that `target` does not take; the line names the nearest valid one."""
    parameters = inspect.signature(target).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    valid = options_of(target)
    for key in options:
        if key not in valid:
            raise InputError(f"{where}: unknown option '{key}'{nearest(key, valid)}")


def check_component(kind: Callable[..., Any], section: str, name: str, options: Mapping[str, Any]) -> None:
    """Refuses options that the class of a recipe's component does not take, and the lack of one that has no default.

    Most often the former belong to the `type` of a recipe in which an override names another one. The line says how to
    drop them.

    Args:
        kind: the class that `type` stands for.
        section: key of the component in the recipe.
        name: its `type`.
        options: its other keys.
    """
    where = f"recipe: {section} '{name}'"
    try:
        _check_known(kind, options, where)
    except InputError as error:
        raise InputError(f"{error}; {section}={{type: {name}}} replaces all options of '{section}'") from None
    check_needed(kind, options, where)


def options_of(target: Callable[..., Any]) -> list[str]:
    """Names of the options that `target` takes: its keyword-only parameters."""
    parameters = inspect.signature(target).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def check_values(target: Callable[..., Any], options: Mapping[str, Any], where: str) -> None:
    """Refuses option values that are not of the type that `target` declares. Options without a type pass.

    Raises:
        InputError: names the first wrong value.
    """
    try:
        kinds = inspect.get_annotations(target, eval_str=True)
    except Exception:  # annotations of foreign code may name what is missing at run time
        return
    for key, value in options.items():
        if key not in kinds:
            continue
        try:
            TypeAdapter(kinds[key], config=_ANY_TYPE).validate_python(value, strict=True)
        except ValidationError as error:
            raise InputError(f"{where}: option '{key}': {_expected(error)} (got {value!r})") from None
        except PydanticUserError:  # a type with settings of its own, such as a pydantic model
            continue


def _expected(error: ValidationError) -> str:
    """What a value should have been, of each type that it might have had."""
    first, *others = dict.fromkeys(each["msg"] for each in error.errors())
    return " or ".join([first, *(other.removeprefix("Input should be ") for other in others)])


def first_line(found: ModuleType) -> str:
    """The first line of a module's docstring, for `unic list`."""
    return (found.__doc__ or "").strip().partition("\n")[0]
