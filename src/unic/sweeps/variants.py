"""The variants of a sweep: their names, their overrides, and what they are called on the disk."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from unic.digest import sha256
from unic.errors import InputError
from unic.recipe.schema import Recipe
from unic.runs.folder import is_of_seed
from unic.sweeps.asked import BASE, Asked, Resumed
from unic.sweeps.dropping import dropping
from unic.sweeps.sameness import content

_LONGEST = 60  # letters of a name that is made from values
_MOST_BYTES = 255 - len("-4294967295.json")  # of a folder's name, as file systems allow 255 for that of a small file
_UNSAFE = re.compile(r"[^\w.=-]+")
_TAKEN = ("results",)  # folders of a sweep that hold no runs

Load = Callable[[Sequence[str]], Recipe]


@dataclass(frozen=True)
class Variant:
    """One variant.

    Attributes:
        name: as tables show it.
        overrides: all changes that it makes to the recipe of the sweep.
        of: the variant whose finished training it resumes; None: it is trained from the start.
    """

    name: str
    overrides: Sequence[str] = ()
    of: str | None = None

    @property
    def folder(self) -> str:
        return folder_name(self.name)


class _Level(NamedTuple):
    """One value of an axis: what it adds to the name and to the overrides; nothing where the base has it.

    Attributes:
        dropped: the teacher that it takes out of what the other axes give.
    """

    name: str = ""
    overrides: tuple[str, ...] = ()
    dropped: str | None = None


@contextmanager
def about(variant: Variant) -> Iterator[None]:
    """A block whose lines about wrong input begin with the variant."""
    try:
        yield
    except InputError as error:
        raise error.reworded(f"variant '{variant.name}': {error.text}", error.remedy) from None


def folder_name(name: str) -> str:
    """The name of a variant without what shells and file systems read as something else."""
    return _UNSAFE.sub("-", name).strip("-.")


def variants_of(asked: Asked, base: Recipe, load: Load) -> list[Variant]:
    """All variants, the base first.

    Args:
        asked: the sweep.
        base: its recipe.
        load: gives the recipe with further overrides.

    Raises:
        InputError: two variants with one name or folder, or a value that the recipe cannot have.
    """
    named = {name: _named(name, asked.variants) for name in asked.variants}
    base_name = next((name for name, variant in named.items() if not variant.overrides), BASE)
    found = [named.pop(base_name, Variant(base_name)), *named.values()]
    if base_name == BASE and found[0].overrides:
        raise InputError(f"sweep: '{BASE}' is the recipe itself; give the variant another name")
    axes = [[_level(key, value, base, load) for value in values] for key, values in asked.vary.items()]
    axes += [_without_each(base)] if asked.drop_teachers else []
    found += _apart(found, [one for levels in _combinations(axes, asked.design) if (one := _combined(levels, load))])
    _check_names(found)
    return found


def _named(name: str, variants: Mapping[str, list[str] | Resumed]) -> Variant:
    entry = variants.get(name, [])  # `BASE` need not be among them
    if isinstance(entry, Resumed):
        return Variant(name, (*_named(entry.of, variants).overrides, *entry.change), entry.of)
    return Variant(name, tuple(entry))


def _level(key: str, value: Any, base: Recipe, load: Load) -> _Level:
    line = f"{key}={json.dumps(value)}"
    return _Level() if content(load([line])) == content(base) else _Level(f"{key}={_short(value)}", (line,))


def _without_each(base: Recipe) -> list[_Level]:
    """The base, and it without each teacher."""
    models = base.teachers.models
    if len(models) < 2:
        raise InputError(f"sweep: the recipe has one teacher, '{next(iter(models))}', which cannot be dropped")
    return [_Level(), *(_Level(f"without {name}", dropped=name) for name in models)]


def _combinations(axes: Sequence[Sequence[_Level]], design: str) -> Iterator[Sequence[_Level]]:
    """The levels of each variant that is not the base."""
    every = itertools.product(*axes) if design == "factorial" else ([level] for axis in axes for level in axis)
    return (changed for levels in every if (changed := [level for level in levels if level.name]))


def _combined(levels: Sequence[_Level], load: Load) -> Variant | None:
    """The variant with all of some levels; None where a teacher is dropped that another level changes or leaves out."""
    lines = [line for level in levels for line in level.overrides]
    variant = Variant(_fitting(" ".join(level.name for level in levels)), tuple(lines))
    teacher = next((level.dropped for level in levels if level.dropped), None)
    if teacher is None:
        return variant
    if any(f"{line.partition('=')[0]}.".startswith(f"teachers.models.{teacher}.") for line in lines):
        return None
    with about(variant):
        recipe = load(lines)
        if not recipe.teachers.models.keys() > {teacher}:
            return None
        return replace(variant, overrides=(*lines, *dropping(teacher, recipe)))


def _short(value: Any) -> str:
    """A value as a piece of a name."""
    if isinstance(value, Mapping):
        inner = [_short(part) if key == "type" else f"{key}:{_short(part)}" for key, part in value.items()]
        text = ",".join(inner)
    elif isinstance(value, list):
        text = f"[{','.join(map(_short, value))}]"
    else:
        # Without the plus of 1e+30, which `folder_name` would make a minus.
        text = value if isinstance(value, str) else json.dumps(value).replace("e+", "e")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 8]}-{sha256(text)[:6]}"


def _fitting(name: str) -> str:
    """A name that is made from values, with a hash in place of the end that no folder's name can have."""
    if len(folder_name(name).encode()) <= _MOST_BYTES:
        return name
    return _hashed(name)


def _hashed(name: str) -> str:
    """A name that ends with a hash of itself, and fits a folder."""
    return f"{name.encode()[: _MOST_BYTES - 7].decode(errors='ignore')}-{sha256(name)[:6]}"


def _apart(others: Sequence[Variant], made: Sequence[Variant]) -> Iterator[Variant]:
    """Variants whose names are made from values, with a hash where another one would have the same folder.

    Args:
        others: variants with names of their own.
        made: the variants.
    """
    names = {variant.folder.casefold(): variant.name for variant in others}
    for variant in made:
        is_alone = names.setdefault(variant.folder.casefold(), variant.name) == variant.name
        yield variant if is_alone else replace(variant, name=_hashed(variant.name))


def _check_names(variants: Sequence[Variant]) -> None:
    names: dict[str, str] = {}
    for variant in variants:
        folder = variant.folder.casefold()  # some file systems tell no large letters from small ones
        if not folder or folder in _TAKEN or is_of_seed(folder):
            raise InputError(f"sweep: variant '{variant.name}' cannot be the name of a folder; give it another one")
        if (length := len(variant.folder.encode())) > _MOST_BYTES:
            raise InputError(
                f"sweep: the name of variant '{variant.name[:_LONGEST]}…' has {length} bytes; a folder's name may have "
                f"{_MOST_BYTES}, so shorten it"
            )
        if names.get(folder) == variant.name:
            raise InputError(f"sweep: variant '{variant.name}' is there twice")
        if folder in names:
            raise InputError(
                f"sweep: the variants '{names[folder]}' and '{variant.name}' would have one folder; rename one of them"
            )
        names[folder] = variant.name
