"""The identity of a run: a checkpoint is only resumed with the recipe, teachers and images that it began with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from unic.arguments import argument
from unic.errors import InputError
from unic.recipe.reading import leaves
from unic.recipe.schema import Recipe
from unic.recipe.teachers import TeacherSection
from unic.training import places
from unic.training.job import Job
from unic.training.same_words import in_the_same_words

# Keys that a resumed run may change (though with other micro-batches batch norms see other parts of a batch).
FREE_TO_CHANGE = (
    "base",
    "checkpoint",
    "eval",
    "train.interpolate",
    "train.interpolate_norms",
    "train.log_every",
    "train.engine",
    "teachers.shard",
    "train.max_skipped",
    "train.micro_batches",
    "train.timeout",
    "data.workers",
    "data.timeout",
    "data.max_damaged",
    "data.validation",
    "teachers.cache.dir",
    "teachers.cache.budget",
    "teachers.cache.processes",
    "trackers",
)

_PRINTS = 2  # version of the teachers' fingerprints; the first, not recorded, covered too little code and weights

log = logging.getLogger("unic")


class Identity:
    """The part of a checkpoint that a resumed run must share: the recipe, the content of the teachers and the images.

    Args:
        job: as it was built, before anything is sharded.
        recipe: recipe of the run, with all stages.

    Attributes:
        moved: a line for each path that has changed since the checkpoint.
    """

    def __init__(self, job: Job, recipe: Recipe) -> None:
        self._now = {
            "recipe": recipe.model_dump(mode="json"),
            "teachers": {name: encoder.fingerprint() for name, encoder in job.encoders.items()},
            "prints": _PRINTS,
            "images": job.images.fingerprint(),
            "listing": job.images.portable_fingerprint(),
        }
        self.moved: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        return self._now

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Refuses the checkpoint of another run; see `check_same`."""
        self.moved = check_same(state, self._now)


def check_same(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Refuses to continue another run, and names the first difference.

    Files may have moved, because contents are compared: weights of teachers; count, names and sizes of images.

    Args:
        saved, now: identities, as `Identity.state_dict` returns them.

    Returns:
        A line for each path that has changed.

    Raises:
        InputError: they differ.
    """
    if list(saved["teachers"]) != list(now["teachers"]):
        names = [", ".join(side["teachers"]) for side in (saved, now)]
        raise InputError(
            f"{argument('resume')}: the run was started with the teachers {names[0]}, the recipe names {names[1]}"
        )
    was = check_recipe(saved["recipe"], now["recipe"], argument("resume"))
    for name, fingerprint in saved["teachers"].items():
        if fingerprint == now["teachers"][name]:
            continue
        uri = TeacherSection.model_validate(now["recipe"]["teachers"]["models"][name]).uri
        if "prints" not in saved and ("trust_remote_code=true" in uri or uri.startswith(("onnx:", "py:"))):
            log.warning(
                "teacher %s: not checked against the start of the run, because the earlier version of unic that began "
                "it recorded too little", name,
            )  # fmt: skip
            continue
        raise InputError(
            f"{argument('resume')}: teacher '{name}' has other weights, preprocessing or code than at the start of "
            "the run"
        )
    moves = places.moves(was, now["recipe"])
    by = "listing" if "listing" in saved else "images"
    if saved[by] != now[by]:
        hint = f"; {moves[0]}" if moves else ""
        raise InputError(f"{argument('resume')}: the training images differ from those at the start of the run{hint}")
    return [f"moved: {line}" for line in moves]


def check_recipe(saved: Mapping[str, Any], now: Mapping[str, Any], named: str) -> dict[str, Any]:
    """Refuses to continue with a recipe that trains something else, and names the first key that differs.

    Args:
        saved, now: recipes as trees; paths may differ, and defaults of options may be left out.
        named: the argument that the error line begins with.

    Returns:
        The saved recipe with all keys of today's schema.
    """
    # Validation gives keys that are newer than the checkpoint their defaults.
    was = Recipe.model_validate(saved).model_dump(mode="json")
    if changed := first_difference(was, now, FREE_TO_CHANGE):
        raise InputError(
            f"{named}: '{changed.key}' was {changed.was!r} at the start of the run and is {changed.now!r} now; "
            "repeat the key=value of the start, or resume with the run's own recipe.yaml"
        )
    return was


class Changed(NamedTuple):
    """A key in which two recipes differ, and its values; None in a recipe without the key."""

    key: str
    was: Any
    now: Any


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any], free: Sequence[str]) -> Changed | None:
    """The first key in which two recipes differ, by the alphabet; None if they are the same.

    Args:
        old, new: recipes as trees; paths may differ, and defaults of options may be left out.
        free: keys and sections that may differ.
    """
    trees = in_the_same_words(old, new)
    was, now = (leaves(places.without_places(tree)) for tree in trees)
    for key in sorted(was.keys() | now.keys()):
        is_free = any(key == name or key.startswith(f"{name}.") for name in free)
        if not is_free and was.get(key) != now.get(key):
            return Changed(key, *(leaves(tree).get(key) for tree in trees))
    return None
