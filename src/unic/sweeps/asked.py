"""What a sweep asks for: a YAML file of its own, or a recipe with what the command line adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from unic.errors import InputError, nearest
from unic.recipe.base import Section
from unic.recipe.keys import first_error, meant
from unic.recipe.reading import read_file
from unic.recipe.schema import Recipe
from unic.sweeps.folder import SweepFolder

BASE = "base"  # the name of the recipe itself where no variant without overrides gives it another one
Design = Literal["one_at_a_time", "factorial"]


class Resumed(Section):
    """A variant that is the finished training of another one, resumed with changes that train nothing anew."""

    of: str
    """Name of the other variant."""
    change: list[str] = Field(min_length=1)
    """Its further overrides, `KEY=VALUE`."""


class Asked(Section):
    """A sweep. A YAML file with these keys is one."""

    recipe: str | dict[str, Any]
    """The recipe that is varied: a file, the name of a shipped recipe, or the recipe itself."""
    suites: list[str] = Field([])
    """Suites that measure every student; empty: the recipe's own. The run folders keep the first one's results."""
    overrides: list[str] = Field([])
    """Changes to the recipe for all variants, `KEY=VALUE`."""
    vary: dict[str, list[Any]] = Field({})
    """Values by key of the recipe. A value that the recipe has already makes no variant of its own."""
    drop_teachers: Literal["each"] | None = None
    """`each`: one variant without each teacher."""
    design: Design = "one_at_a_time"
    """`one_at_a_time`: each variant changes one key; `factorial`: all combinations of the values."""
    variants: dict[str, list[str] | Resumed] = Field({})
    """Further variants by name: lists of overrides, or `{of: NAME, change: […]}`. One without overrides names the
    base."""
    seeds: list[int] = Field([0])
    """Seeds of the trainings, the same for all variants."""

    @model_validator(mode="before")
    @classmethod
    def _one_suite(cls, tree: Any) -> Any:
        """`suite: quick` is short for `suites: [quick]`."""
        if not (isinstance(tree, Mapping) and "suite" in tree):
            return tree
        if "suites" in tree:
            raise ValueError("either 'suite' or 'suites', not both")
        return {**{key: value for key, value in tree.items() if key != "suite"}, "suites": [tree["suite"]]}

    @field_validator("vary")
    @classmethod
    def _have_values(cls, vary: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in vary.items():
            if not values:
                raise ValueError(f"'{key}' has no values")
        return vary

    @field_validator("variants", mode="before")
    @classmethod
    def _shapes(cls, variants: Any) -> Any:
        """One line about a variant in place of one for each shape that it might have had."""
        for name, entry in variants.items() if isinstance(variants, Mapping) else ():
            if isinstance(entry, Mapping):
                for key in entry:
                    if key not in Resumed.model_fields:
                        raise ValueError(
                            f"'{name}' has an unknown key '{key}'{nearest(str(key), Resumed.model_fields)}"
                        )
                if set(entry) != set(Resumed.model_fields):
                    raise ValueError(f"'{name}': expected both of: {', '.join(Resumed.model_fields)}")
            elif not isinstance(entry, list | Resumed):
                raise ValueError(f"'{name}': expected a list of KEY=VALUE, or {{of: NAME, change: [KEY=VALUE]}}")
        return variants

    @field_validator("variants")
    @classmethod
    def _know_each_other(cls, variants: dict[str, list[str] | Resumed]) -> dict[str, list[str] | Resumed]:
        for name, entry in variants.items():
            seen = [name]
            while isinstance(entry, Resumed):
                if entry.of == BASE and BASE not in variants:
                    break
                if entry.of not in variants:
                    raise ValueError(
                        f"'{seen[-1]}' is of '{entry.of}', which is no variant{nearest(entry.of, variants)}"
                    )
                if entry.of in seen:
                    raise ValueError(f"'{name}' is of itself")
                seen.append(entry.of)
                entry = variants[entry.of]
        return variants


def read_asked(source: str | Path | Mapping[str, Any] | Recipe) -> Asked:
    """Reads a sweep; a plain recipe is a sweep of its base alone.

    Args:
        source: the file of a sweep or of a recipe, the name of a shipped recipe, the folder of a sweep, a mapping with
            the keys of either, or a `Recipe`.

    Raises:
        InputError: one line for the first problem found.
    """
    if isinstance(source, Recipe):
        from unic.training.places import found_from  # torch; a command reads files and need not wait for it

        source = found_from(source)  # relative paths may lie beside the file that it was read from
        return Asked(recipe=source.unresolved(source.model_dump(mode="json", exclude_unset=True)))
    if isinstance(source, Mapping):
        return _checked(source, "sweep") if _is_sweep(source) else Asked(recipe=dict(source))
    within = SweepFolder(Path(source))
    file = read_file(str(within.asked if within.is_begun else source))
    if not _is_sweep(file.tree):
        return Asked(recipe=str(source))
    asked = _checked(file.tree, f"sweep {source}")
    above = within.path.resolve().parents if within.is_begun else ()
    recipe = asked.recipe
    if isinstance(recipe, str):
        recipe = _found(recipe, file.folder, above)
        if within.base.is_file() and Path(recipe).suffix and not Path(recipe).is_file():
            recipe = _base_of(within)
    suites = [_found(suite, file.folder, above) for suite in asked.suites]
    return asked.model_copy(update={"recipe": recipe, "suites": suites})


def with_changes(asked: Asked, **changes: Any) -> Asked:
    """A sweep with what the command line, or a call, adds: lists and mappings grow, single values are replaced.

    Args:
        asked: the sweep.
        changes: by key of a sweep; None or empty: nothing.

    Raises:
        InputError: they make no sweep.
    """
    tree = asked.model_dump()
    for key, value in changes.items():
        if isinstance(value, list) and key == "overrides":
            tree[key] = [*tree[key], *value]
        elif isinstance(value, Mapping):
            tree[key] = {**tree[key], **value}
        elif value:
            tree[key] = value
    return _checked(tree, "sweep")


def _is_sweep(tree: Mapping[str, Any]) -> bool:
    own = Asked.model_fields.keys() - Recipe.model_fields.keys() - {"seeds", "overrides"}
    return not own.isdisjoint(tree)


def _checked(tree: Mapping[str, Any], where: str) -> Asked:
    try:
        return Asked.model_validate(dict(tree))
    except ValidationError as error:
        first = first_error(error.errors())
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise InputError(f"{where}: unknown key '{key}'{meant(Asked, first['loc'])}") from None
        if first["type"] == "missing":
            raise InputError(f"{where}: '{key}' is missing") from None
        named = f"'{key}': " if key else ""
        raise InputError(f"{where}: {named}{first['msg'].removeprefix('Value error, ')}") from None


def _found(name: str, folder: Path, above: Sequence[Path]) -> str:
    """A file beside the sweep's own, from the working folder or from a folder above; else the name as it is.

    The first command of a sweep may have been typed in a folder above, and its paths are relative to that folder.
    """
    places = [folder, Path(), *(above if Path(name).suffix else ())]
    return next((str(place / name) for place in places if (place / name).is_file()), name)


def _base_of(sweep: SweepFolder) -> dict[str, Any]:
    """The recipe of a sweep as `base.yaml` has it, for where its own file is gone."""
    tree = {**read_file(str(sweep.base)).tree}
    if tree.get("train", {}).get("interpolate") != "auto" and not tree.get("data", {}).get("holdout"):
        # A default that is written out; a variant with `train.interpolate: auto` has another one.
        tree["data"] = {key: value for key, value in tree["data"].items() if key != "holdout"}
    return tree
