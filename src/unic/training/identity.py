"""What makes two runs the same, so that a checkpoint is continued by the run that wrote it and by no other."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from unic.arguments import argument
from unic.errors import InputError
from unic.recipe.reading import leaves
from unic.recipe.schema import Recipe
from unic.training import places
from unic.training.job import Job

# What a resumed run may change without training something else (with other micro-batches batch norms see other parts).
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

_PRINTS = 2  # what fingerprints of teachers cover; before it was said: too little of code and of external weights

log = logging.getLogger("unic")


class Identity:
    """What must be the same for a checkpoint to be continued, as a part of it.

    It is the recipe, and the content of the teachers and of the images.

    Args:
        job: as it was built, before anything is cut into shards.
        recipe: of the run, with all stages.

    Attributes:
        moved: a line for each place of files that has changed since the checkpoint.
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
        """Refuses a checkpoint of something else; see `check_same`."""
        self.moved = check_same(state, self._now)


def check_same(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Refuses to continue a run with something else; names the first difference.

    Files may have moved, for what they hold is compared: of teachers the weights, of images their number, names and
    sizes.

    Returns:
        A line for each place that has changed.
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
        uri = now["recipe"]["teachers"]["models"][name]
        if "prints" not in saved and ("trust_remote_code=true" in uri or uri.startswith(("onnx:", "py:"))):
            log.warning(
                "teacher %s: an earlier version started this run and told such teachers apart by less, so that this is "
                "the same one is not checked", name,
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
    """Refuses to go on with a recipe that trains something else, and names the first key that differs.

    Args:
        saved, now: recipes as trees; where files lie may differ.
        named: begins the error line.

    Returns:
        The saved one with all the keys of today.
    """
    # Validated again: keys that unic has learnt since stand at their defaults.
    was = Recipe.model_validate(saved).model_dump(mode="json")
    old, new = leaves(places.without_places(was)), leaves(places.without_places(now))
    for key in sorted(old.keys() | new.keys()):
        free = any(key == name or key.startswith(f"{name}.") for name in FREE_TO_CHANGE)
        if not free and old.get(key) != new.get(key):
            raise InputError(
                f"{named}: '{key}' was {leaves(was).get(key)!r} at the start of the run and is "
                f"{leaves(now).get(key)!r} now; "
                "repeat the key=value of the start, or resume with the run's own recipe.yaml"
            )
    return was
