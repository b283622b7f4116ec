"""From what a sweep asks for to its trainings. Every recipe is loaded and tried before the first training begins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unic.arguments import argument
from unic.device import default_device
from unic.errors import InputError, nearest
from unic.recipe.schema import Recipe, load_recipe
from unic.sweeps.asked import Asked
from unic.sweeps.folder import SweepFolder
from unic.sweeps.sameness import content, set_digests
from unic.sweeps.variants import Variant, about, variants_of
from unic.training.identity import check_recipe
from unic.training.places import found_from
from unic.training.stages import first_of
from unic.training.start import is_kept
from unic.training.trainings import check_seeds

_OWN_SUITE = "suite"  # what a suite is called that the recipe writes itself


@dataclass(frozen=True)
class Training:
    """One variant with one seed.

    Attributes:
        variant: the variant that is trained.
        seed: seed of the training.
        recipe: with that seed.
        run: its run folder.
        result: the small file that is written when it has been measured.
        resumes: the run folder whose finished training it goes on with, if that is there.
    """

    variant: Variant
    seed: int
    recipe: Recipe
    run: Path
    result: Path
    resumes: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.variant.name}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """A sweep whose recipes are loaded.

    Attributes:
        asked: request that the plan was made from.
        variants: the base first.
        recipes: by name of the variant, with the seed of the recipe.
        suites: suites that measure the students, by name: the name or path of a suite, or the recipe's own.
        chosen: names of the variants to train; empty: all.
    """

    asked: Asked
    variants: Sequence[Variant]
    recipes: Mapping[str, Recipe]
    suites: Mapping[str, str | dict[str, Any]]
    chosen: Sequence[str] = ()

    @property
    def base(self) -> Variant:
        return self.variants[0]

    @cached_property
    def set_digests(self) -> dict[str, dict[str, str]]:
        """A hash of the images and labels of each evaluation set, by suite, then by set; computed once."""
        return {name: set_digests(suite) for name, suite in self.suites.items()}

    def trainings(self, folder: SweepFolder) -> list[Training]:
        """All that are to be made: every variant with the first seed, then every variant with the second one."""
        chosen = [variant for variant in self.variants if not self.chosen or variant.name in self.chosen]
        return [self._training(variant, seed, folder) for seed in self.asked.seeds for variant in chosen]

    def _training(self, variant: Variant, seed: int, folder: SweepFolder) -> Training:
        recipe = self.recipes[variant.name].model_copy(update={"seed": seed}).read_as(self.recipes[variant.name])
        others = {other.name: other for other in self.variants}
        resumes = folder.run(others[variant.of].folder, seed) if variant.of else None
        name = variant.folder
        return Training(variant, seed, recipe, folder.run(name, seed), folder.result(name, seed), resumes)


def make_plan(asked: Asked) -> Plan:
    """Loads the recipe of every variant.

    Raises:
        InputError: a recipe that cannot be loaded, a variant that is there twice, nothing to measure by.
    """
    check_seeds(asked.seeds, asked.overrides)
    suites = [f"eval.suite={json.dumps(asked.suites[0])}"] if asked.suites else []

    def load(overrides: Sequence[str]) -> Recipe:
        return found_from(load_recipe(asked.recipe, [*asked.overrides, *suites, *overrides]))

    base = load([])
    variants = variants_of(asked, base, load)
    recipes: dict[str, Recipe] = {}
    for variant in variants:
        with about(variant):
            recipe = load(variant.overrides) if variant.overrides else base
            _check(recipe, base)
        recipes[variant.name] = recipe
    _check_twins(recipes)
    for variant in variants:
        if variant.of:
            _check_resumed(variant, recipes[variant.name], recipes[variant.of])
    return Plan(asked, variants, recipes, _suites(asked, base))


def suite_name(suite: str) -> str:
    """Name of a suite, wherever its file lies."""
    return Path(suite).stem if Path(suite).suffix else suite


def _suites(asked: Asked, base: Recipe) -> dict[str, str | dict[str, Any]]:
    own = base.plans()[-1].eval.suite
    if isinstance(own, dict) and not asked.suites:
        return {_OWN_SUITE: own}
    suites: dict[str, str | dict[str, Any]] = {}
    for suite in asked.suites or ([own] if isinstance(own, str) else []):
        if suite_name(suite) in suites:
            raise InputError(f"sweep: two suites are called '{suite_name(suite)}'; rename the file of one of them")
        suites[suite_name(suite)] = suite
    if not suites:
        named = argument("suites", flag="--suite")
        raise InputError(f"sweep: nothing to measure by; name a suite with {named}, for example quick")
    return suites


def only(plan: Plan, names: Sequence[str]) -> Plan:
    """The plan, of which some variants are trained; none are named: all.

    Raises:
        InputError: an unknown name.
    """
    known = [variant.name for variant in plan.variants]
    for name in names:
        if name not in known:
            raise InputError(f"sweep: unknown variant '{name}'{nearest(name, known)}")
    return replace(plan, chosen=names)


def try_out(variant: Variant, recipe: Recipe) -> None:
    """Builds everything of a variant and sends one batch through it; writes nothing.

    Raises:
        InputError: a part that does not exist, or that does not fit the others.
    """
    with about(variant):
        first_of(recipe.plans(), default_device())


def _check(recipe: Recipe, base: Recipe) -> None:
    if recipe.seed != base.seed:
        raise InputError("the seeds of the trainings are those of the sweep; leave out seed=")
    if recipe.plans()[-1].eval.suite != base.plans()[-1].eval.suite:
        raise InputError("all variants are measured alike; leave out eval.suite")


def _check_resumed(variant: Variant, recipe: Recipe, of: Recipe) -> None:
    """Refuses a variant that the finished training of another one cannot go on as."""
    named = f"variant '{variant.name}', which resumes '{variant.of}'"
    check_recipe(of.model_dump(mode="json"), recipe.model_dump(mode="json"), named)
    if any(map(is_kept, recipe.plans())) and not any(map(is_kept, of.plans())):
        raise InputError(
            f"{named}: that one does not keep the weights which its student started from; train.interpolate=1 among "
            "the overrides of the sweep keeps them"
        )


def _check_twins(recipes: Mapping[str, Recipe]) -> None:
    names: dict[tuple[str, ...], str] = {}
    for name, recipe in recipes.items():
        other = names.setdefault(tuple(map(content, recipe.plans())), name)
        if other != name:
            where = "" if content(recipe) == content(recipes[other]) else " in every stage"
            raise InputError(
                f"sweep: the variants '{other}' and '{name}' are the same recipe{where}; leave one of them out"
            )
