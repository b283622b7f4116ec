"""The trained student of a run folder, from its newest checkpoint."""

from __future__ import annotations

from pathlib import Path

from unic import checkpoint
from unic.config import Recipe, load_recipe
from unic.encoders import build_encoder, without_weights
from unic.encoders.timm import TimmEncoder
from unic.errors import InputError


def trained_student(run: Path) -> tuple[TimmEncoder, Recipe]:
    """The student, frozen, on the CPU in float32, and the run's recipe.

    Raises:
        InputError: not a run folder, or no whole checkpoint in it.
    """
    if not (run / "recipe.yaml").is_file():
        raise InputError(f"run {run}: not a run folder (no recipe.yaml)")
    recipe = load_recipe(run / "recipe.yaml")
    found = checkpoint.load_newest(run)
    if found is None:
        raise InputError(f"run {run}: it has no checkpoint yet")
    tensors = checkpoint.without_prefix("distiller.student.", found[0].tensors)
    student = build_encoder(without_weights(recipe.student.model))  # the weights it started from are not needed
    assert isinstance(student, TimmEncoder), student  # what has blocks is one
    student.load_state_dict(tensors)
    student.freeze()
    return student, recipe
