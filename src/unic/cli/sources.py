"""The recipe that a command line means: a file, a name, or flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unic.cli.screen import tell_notes
from unic.cli.words import uris_in
from unic.errors import InputError
from unic.runs.folder import RunFolder, trainings_in


def begun_recipe(out: Path | None, *, resume: bool, has_seeds: bool) -> Path | None:
    """The recipe of the run that goes on, or of the first of several trainings."""
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
    """A recipe's name and overrides, or the tree that the flags describe; the first override may stand in its place.

    Args:
        begun: the recipe of the run that goes on: what flags do not say is as it was at its start.
    """
    if not (teachers or student or data):
        if recipe is None:
            raise InputError("distill: expected a recipe, or --teachers, --student and --data")
        return recipe, overrides
    if recipe is not None and "=" not in recipe:
        raise InputError(f"distill: either the recipe '{recipe}' or --teachers, --student and --data, not both")
    from unic.compose import compose

    tree = compose(uris_in(teachers), student or "", data or [])
    if begun:
        tree["base"] = str(begun)
    else:
        from unic.suited import suited

        changes = ([recipe] if recipe else []) + overrides
        tree, notes = suited(tree, changes)
        tell_notes(notes)
    return tree, ([recipe] if recipe else []) + overrides


def typed_code(source: Any, overrides: list[str]) -> list[str]:
    """What of a recipe was typed: its overrides, and a tree that flags describe."""
    from unic.typed import code_in, code_in_overrides

    return [*code_in_overrides(overrides), *(code_in(source) if isinstance(source, dict) else [])]
