"""Experiment trackers by name, through accelerate: TensorBoard by default, W&B, MLflow, trackio on request."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unic.errors import InputError, nearest
from unic.recipe.reading import leaves

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

PROJECT = "unic"  # default project of a tracker
_PACKAGES = {
    "tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio", "aim": "aim",
    "comet_ml": "comet_ml", "clearml": "clearml", "swanlab": "swanlab",
}  # fmt: skip


def check_trackers(names: Mapping[str, Any]) -> None:
    """Refuses trackers that could not be opened later.

    Raises:
        InputError: a tracker is unknown, or its package is not installed.
    """
    for name in names:
        if name not in _PACKAGES:
            raise InputError(f"recipe: unknown tracker '{name}'{nearest(name, _PACKAGES)}")
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise InputError(f"recipe: tracker '{name}' is not installed; run: pip install {_PACKAGES[name]}")


def open_trackers(
    names: Mapping[str, Mapping[str, Any]], run: Path, recipe: Mapping[str, Any], after: int
) -> list[GeneralTracker]:
    """Opens and starts trackers, and stores the recipe in them.

    Args:
        names: options by tracker, passed to its own `init`.
        run: the run folder, whose name becomes the run's.
        recipe: nested; trackers get it flat, with dotted keys.
        after: the step that a resumed run continues from.
    """
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # trackers ask it which process they are in
    opened = []
    for name, given in names.items():
        kind: Any = LOGGER_TYPE_TO_CLASS[name]
        options = dict(given)
        if name == "tensorboard":
            tracker = kind("tensorboard", run, purge_step=after + 1, **options)
        elif name == "mlflow":
            experiment = options.pop("project", PROJECT)
            tracker = kind(experiment_name=experiment, **{"run_name": run.name, **options})
        else:
            project = options.pop("project", PROJECT)
            where = {"dir": str(run)} if name == "wandb" else {}
            tracker = kind(project, **{"name": run.name, **where, **options})
        tracker.start()
        if name != "tensorboard":  # which would show the options as a second run
            tracker.store_init_configuration(flat(recipe))
        opened.append(tracker)
    return opened


def flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves by dotted key; lists as text."""
    return {key: _plain(value) for key, value in leaves(tree).items()}


def _plain(value: Any) -> Any:
    if value is None:
        return "null"
    return value if isinstance(value, bool | int | float | str) else str(value)
