"""Several trainings of one recipe, one for each seed, each in a run folder of its own.

All of them are checked before the first one begins. Finished trainings are left alone. So repeating the command resumes
the rest, and another seed adds a training.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unic.arguments import argument
from unic.errors import InputError
from unic.recipe.schema import Recipe, load_run_recipe
from unic.runs.export_folder import ExportFolder
from unic.runs.folder import RunFolder, is_of_seed, of_seed, trainings_in
from unic.runs.state import IDENTITY, has_ended, newest_state
from unic.training.identity import check_recipe


@dataclass(frozen=True)
class Training:
    """One training of several.

    Attributes:
        recipe: with the seed of this training.
        folder: its run folder.
        is_finished: whether it is trained, exported, evaluated by the recipe's `eval` and reported.
    """

    recipe: Recipe
    folder: Path
    is_finished: bool


def check_seeds(seeds: Sequence[int], overrides: Sequence[str] = ()) -> None:
    """Refuses seeds that cannot be trained.

    Args:
        seeds: seeds of the trainings.
        overrides: `key=value`.

    Raises:
        InputError: no seed, a negative or repeated one, another one by `seed=`, or several processes.
    """
    named = argument("seeds")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise InputError(f"{named}: expected whole numbers from 0 on, got {seed!r}")
        if list(seeds).count(seed) > 1:
            raise InputError(f"{named}: {seed} is named twice; one training has one seed")
    if not seeds:
        raise InputError(f"{named}: expected at least one seed, for example 0")
    if any(line.partition("=")[0].strip() == "seed" for line in overrides):
        raise InputError(f"{named}: the seeds of the trainings are named here; leave out seed=")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise InputError(
            f"{named}: torchrun runs one training at a time; run a command for each seed, such as seed={seeds[0]} into "
            f"DIR/{of_seed(seeds[0])}, then unic eval DIR for the table of all"
        )


def plan_trainings(recipe: Recipe, folder: Path, seeds: Sequence[int]) -> list[Training]:
    """The trainings in `folder`, in the order of `seeds`.

    Raises:
        InputError: the folder holds something else, or a training of another recipe.
    """
    found = trainings_in(folder)
    _check_folder(folder)
    for seed, run in found.items():
        state = newest_state(run)
        if state:  # a training without a checkpoint begins anew
            now = _with_seed(recipe, seed).model_dump(mode="json")
            check_recipe(state[IDENTITY]["recipe"], now, f"{argument('out')} {run}")
    return [
        Training(_with_seed(recipe, seed), folder / of_seed(seed), seed in found and _is_finished(found[seed], recipe))
        for seed in seeds
    ]


def _check_folder(folder: Path) -> None:
    """Refuses a folder that holds anything but trainings."""
    if not folder.is_dir():
        return
    names = [path.name for path in folder.iterdir()]
    if RunFolder(folder).is_begun:
        raise InputError(f"{argument('out')} {folder}: it is the folder of a single training; name another one")
    if names and not any(map(is_of_seed, names)):
        raise InputError(
            f"{argument('out')} {folder}: the folder is not empty and holds no training, such as {of_seed(0)}; name "
            "another one"
        )


def _with_seed(recipe: Recipe, seed: int) -> Recipe:
    return recipe.model_copy(update={"seed": seed})


def _is_finished(run: Path, recipe: Recipe) -> bool:
    """Whether nothing is left to do. A changed `eval` section has to be evaluated again."""
    if not has_ended(run, len(recipe.stages)):
        return False
    files = RunFolder(run)
    written = [
        ExportFolder(files.export).config,
        files.report,
        *([files.results] if recipe.plans()[-1].eval.suite else []),
    ]
    return load_run_recipe(run).eval == recipe.eval and all(path.is_file() for path in written)
