"""`DIR/sweep.yaml` and `DIR/base.yaml`: what was asked for. The same sweep goes on, another one is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from unic._regular_files import read_text
from unic.arguments import argument
from unic.errors import InputError, first_line_of
from unic.files import write_text
from unic.recipe.references import WithReferences
from unic.recipe.schema import Recipe, load_recipe
from unic.runs.folder import RunFolder
from unic.sweeps.asked import Resumed, read_asked
from unic.sweeps.folder import SweepFolder
from unic.sweeps.measured import Measured, read_all
from unic.sweeps.plan import Plan, suite_name
from unic.sweeps.sameness import FREE, images_digest, recipe_digest, suite_digest
from unic.sweeps.variants import folder_name
from unic.training.identity import first_difference


def check_kind(folder: SweepFolder) -> None:
    """Refuses the folder of a single training.

    Raises:
        InputError: it is one.
    """
    if not folder.is_begun and RunFolder(folder.path).is_begun:
        raise InputError(f"{argument('out')} {folder.path}: the folder of a single training; name another one")


def check_kept(folder: SweepFolder, plan: Plan) -> None:
    """Refuses a folder that cannot take this sweep. What was asked for and has not begun may change.

    Raises:
        InputError: the folder holds another sweep, or something else.
    """
    named = f"{argument('out')} {folder.path}"
    if folder.is_begun:
        kept = _read(folder)
        if any(folder.has_begun(folder_name(name)) for name in kept["variants"]):
            _check_same(kept, plan, folder, named)
            _check_folders(kept, plan, folder, named)
            kept_base = load_recipe(folder.base, has_begun=True, may_miss=True)
            _check_recipe(kept_base, plan.recipes[plan.base.name], named)
        trainings = read_all(folder.results)
        _check_recipes(trainings, plan, named)
        _check_suites(trainings, plan, named)
        _check_sets(trainings, plan, named)
        _check_images(trainings, plan, named)
    elif folder.path.is_dir() and any(path != RunFolder(folder.path).lock for path in folder.path.iterdir()):
        raise InputError(f"{named}: the folder is not empty and holds no sweep; name another one")


def keep(folder: SweepFolder, plan: Plan) -> None:
    """Writes down what was asked for. Variants and seeds of earlier commands stay, as far as they have begun."""
    kept = _read(folder) if folder.is_begun else {}
    before = {name: each for name, each in kept.get("variants", {}).items() if folder.has_begun(folder_name(name))}
    asked = _written_out(plan)
    if kept:  # paths that were found from what is kept stay as they are written
        found = read_asked(folder.path)
        asked |= {key: kept[key] for key in ("recipe", "suites") if asked[key] == getattr(found, key)}
    seeds = sorted({*(kept["seeds"] if before else ()), *asked["seeds"]})
    variants = {**before, **asked["variants"]}
    ordered = {name: variants[name] for name in dict.fromkeys((plan.base.name, *variants)) if name in variants}
    tree = {**asked, "variants": ordered, "seeds": seeds}
    if tree != kept:
        write_text(folder.base, plan.recipes[plan.base.name].to_yaml())
        write_text(folder.asked, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120))


def kept_variants(folder: SweepFolder) -> list[str]:
    """Names of all variants of the sweep in the order of its commands; none where `sweep.yaml` is gone."""
    return list(_read(folder)["variants"]) if folder.is_begun else []


def kept_references(folder: SweepFolder) -> WithReferences:
    """What the recipe of the base has from environment variables; nothing where `base.yaml` cannot be read."""
    try:
        return load_recipe(folder.base, has_begun=True, may_miss=True)
    except InputError:
        return WithReferences()


def _written_out(plan: Plan) -> dict[str, Any]:
    """The request as a sweep with named variants only."""
    variants: dict[str, Any] = {}
    for variant in plan.variants:
        entry = plan.asked.variants.get(variant.name)
        variants[variant.name] = entry.model_dump() if isinstance(entry, Resumed) else list(variant.overrides)
    asked = plan.asked
    return {
        "recipe": asked.recipe, "suites": list(asked.suites), "overrides": list(asked.overrides), "variants": variants,
        "seeds": list(asked.seeds),
    }  # fmt: skip


def _read(folder: SweepFolder) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(read_text(folder.asked))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{folder.asked} cannot be read: {first_line_of(error)}") from None
    asked = read_asked(tree if isinstance(tree, dict) else {"variants": tree})
    return asked.model_dump(include={"recipe", "suites", "overrides", "variants", "seeds"})


def _check_same(kept: Mapping[str, Any], plan: Plan, folder: SweepFolder, named: str) -> None:
    now = _written_out(plan)
    there, here = (", ".join(map(suite_name, one["suites"])) or "the suite of its recipe" for one in (kept, now))
    if there != here:
        raise InputError(f"{named}: the sweep there is measured by {there}, this one by {here}")
    if plan.base.name not in kept["variants"]:
        raise InputError(f"{named}: the base of the sweep there is called '{next(iter(kept['variants']))}'")
    for name, entry in now["variants"].items():
        was = kept["variants"].get(name, entry)
        if was != entry and folder.has_begun(folder_name(name)):
            raise InputError(
                f"{named}: the variant '{name}' was {was} there and is {entry} now; give it another name, or the sweep "
                "another folder"
            )


def _check_folders(kept: Mapping[str, Any], plan: Plan, folder: SweepFolder, named: str) -> None:
    """Refuses a variant whose folder is that of another one, which has begun."""
    there = {folder_name(name).casefold(): name for name in kept["variants"] if folder.has_begun(folder_name(name))}
    for variant in plan.variants:
        other = there.get(variant.folder.casefold(), variant.name)
        if other != variant.name:
            raise InputError(
                f"{named}: the variant '{variant.name}' would have the folder of '{other}'; give it another name in a "
                "file of the sweep, or the sweep another folder"
            )


def _check_recipes(trainings: Sequence[Measured], plan: Plan, named: str) -> None:
    """Refuses a variant that a finished training had another recipe of."""
    now = {one.variant: plan.recipes[one.variant] for one in trainings if one.variant in plan.recipes}
    digests = {name: recipe_digest(recipe) for name, recipe in now.items()}
    for one in trainings:
        if one.recipe_digest and digests.get(one.variant, one.recipe_digest) != one.recipe_digest:
            raise InputError(
                f"{named}: '{one.variant}', seed {one.seed}, was trained with another recipe than it has now; restore "
                "the recipe, or name another folder"
            )


def _check_suites(trainings: Sequence[Measured], plan: Plan, named: str) -> None:
    """Refuses a suite whose content has changed since a training was measured by it."""
    now = {name: suite_digest(suite) for name, suite in plan.suites.items()}
    for one in trainings:
        for name, digest in one.suite_digests.items():
            if now.get(name, digest) != digest:
                raise InputError(
                    f"{named}: the suite '{name}' has other sets, tasks or settings than when '{one.variant}', seed "
                    f"{one.seed}, was measured; restore it, or name another folder"
                )


def _check_sets(trainings: Sequence[Measured], plan: Plan, named: str) -> None:
    """Refuses other test images or labels than those that a training was measured on.

    Sets that cannot be opened are not compared: a sweep may go on elsewhere, and an evaluation that needs them says so.
    """
    for one in trainings:
        for suite, sets in one.set_digests.items():
            for name, digest in sets.items():
                if plan.set_digests.get(suite, {}).get(name, digest) != digest:
                    raise InputError(
                        f"{named}: the images or labels of the set '{name}' differ from those that '{one.variant}', "
                        f"seed {one.seed}, was measured on; restore them, or name another folder"
                    )


def _check_images(trainings: Sequence[Measured], plan: Plan, named: str) -> None:
    """Refuses other training images than those that a variant was trained on.

    Images that are gone are not compared: a sweep may go on elsewhere, and a training that needs them says so.
    """
    now: dict[str, str | None] = {}
    for one in trainings:
        recipe = plan.recipes.get(one.variant)
        if recipe is None or not one.images_digest:
            continue
        data = str([part.data for part in recipe.plans()])
        if data not in now:
            try:
                now[data] = images_digest(recipe)
            except InputError:
                now[data] = None
        if now[data] not in (None, one.images_digest):
            raise InputError(
                f"{named}: the training images differ from those that '{one.variant}', seed {one.seed}, was trained "
                "on; restore them, or name another folder"
            )


def _check_recipe(kept: Recipe, now: Recipe, named: str) -> None:
    if changed := first_difference(kept.model_dump(mode="json"), now.model_dump(mode="json"), FREE):
        raise InputError(
            f"{named}: in the recipe of the sweep there '{changed.key}' is {changed.was!r}, now it is "
            f"{changed.now!r}; name another folder"
        )
