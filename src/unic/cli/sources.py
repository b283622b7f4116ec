"""The recipe of a command line: a file, a name, or flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unic.cli.screen import tell_notes
from unic.cli.words import uris_in
from unic.errors import InputError
from unic.runs.folder import RunFolder, trainings_in


def begun_recipe(out: Path | None, *, resume: bool, has_seeds: bool) -> Path | None:
    """The recipe of the run to continue, or of the first of several trainings; None where nothing has begun."""
    if out is None:
        return None
    runs = list(trainings_in(out).values()) if has_seeds else [out] if resume else []
    return next((RunFolder(run).recipe for run in runs if RunFolder(run).is_begun), None)


def recipe_source(
    recipe: str | None,
    overrides: list[str],
    teachers: list[str] | None,
    student: str | None,
    data: list[str] | None,
    begun: Path | None,
) -> tuple[Any, list[str]]:
    """The recipe, as a name, a path or a tree made from flags, and its overrides.

    Args:
        recipe: the first argument; beside flags it is an override.
        overrides: the other arguments.
        teachers: values of `--teacher`.
        student: value of `--student`.
        data: values of `--data`.
        begun: the recipe of the run to continue. It gives the values that the flags do not set.
    """
    if not (teachers or student or data):
        if recipe is None:
            raise InputError("distill: expected a recipe, or --teachers, --student and --data")
        return recipe, overrides
    if recipe is not None and "=" not in recipe:
        raise InputError(f"distill: expected either the recipe '{recipe}' or --teachers, --student and --data")
    from unic.compose import compose

    tree = compose(uris_in(teachers), student or "", data or [])
    changes = ([recipe] if recipe else []) + overrides
    if begun:
        tree["base"] = str(begun)
    else:
        from unic.suited import suited

        tree, notes = suited(tree, changes)
        tell_notes(notes)
    return tree, changes


def typed_code(source: Any, overrides: list[str]) -> list[str]:
    """Code that the user typed: what overrides name, and a tree made from flags."""
    from unic.typed import code_in, code_in_overrides

    return [*code_in_overrides(overrides), *(code_in(source) if isinstance(source, dict) else [])]
