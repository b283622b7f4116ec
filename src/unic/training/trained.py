"""Reads what a run has trained from its newest checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from unic.arguments import argument
from unic.encoders import build_encoder, parse_uri, without_weights
from unic.encoders._weights import load_all
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError, Remedy
from unic.recipe.schema import Recipe, load_run_recipe
from unic.runs import checkpoint
from unic.runs.folder import check_run_folder
from unic.runs.state import DISTILLER, EMA, POSITION, Position, as_parts
from unic.training.interpolate import load_interpolated
from unic.training.places import folder_of, found_from, written_in
from unic.training.recorded import Models, as_recorded, models_of


@dataclass(frozen=True)
class Trained:
    """The newest checkpoint of a run, read once, so that a run in progress does not give parts of two steps.

    Attributes:
        run: the folder.
        recipe: recipe of the stage in which the checkpoint was saved.
        step: step of the checkpoint.
        tensors: everything that was saved, by the names of the checkpoint; `distiller.` is the average if there is one.
        models: see `unic.training.recorded`; the URIs of `recipe` and `plans` have its mean and std.
        plans: the stages up to this one.
        interpolated: weights of the exported student, if that is not the trained one (`train.interpolate`).
        alpha: share of the trained weights in the exported student.
    """

    run: Path
    recipe: Recipe
    step: int
    tensors: dict[str, Tensor]
    models: Models
    plans: list[Recipe]
    interpolated: dict[str, Tensor] = field(default_factory=dict)
    alpha: float = 1.0

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors below `prefix`, without it."""
        return checkpoint.without_prefix(prefix, self.tensors)

    def student(self, *, as_trained: bool = False) -> TimmEncoder:
        """The student to export, frozen, on the CPU in float32; `as_trained`: the one that its projectors fit."""
        spec = parse_uri(self.recipe.student.model)
        student = build_encoder(without_weights(spec.uri))  # the weights it started from are not needed
        assert isinstance(student, TimmEncoder), student  # only timm encoders can be trained
        is_file = spec.scheme == "safetensors" or "checkpoint" in spec.options
        if spec.scheme in ("timm", "safetensors") and (is_file or spec.flag("pretrained", True)):
            student.norm_last = True  # built without weights it would count as from scratch
        load_all(
            student,
            self.part(f"{DISTILLER}.student.") if as_trained or not self.interpolated else self.interpolated,
            f"run {self.run}: its checkpoint does not fit its recipe",
        )
        student.freeze()
        return student


def load_trained(run: Path) -> Trained:
    """Reads a run folder.

    Raises:
        InputError: not a run folder, no whole checkpoint in it, or the run was stopped between its last step and
            `train.interpolate`.
    """
    check_run_folder(run)
    newest = checkpoint.load_newest(run)
    if newest is None:
        raise InputError(f"run {run}: it has no checkpoint yet")
    saved = newest.checkpoint
    state = as_parts(saved.step, saved.state)
    recipe = load_run_recipe(run).written_as(written_in(state))
    recipe = found_from(recipe, folder_of(state))
    average = checkpoint.without_prefix(f"{EMA}.", saved.tensors)
    tensors = saved.tensors | checkpoint.with_prefix(f"{DISTILLER}.", average)
    models = models_of(state)
    position = Position(**state[POSITION])
    plans = [as_recorded(plan, models) for plan in recipe.plans()[: position.stage + 1]]
    leaving = load_interpolated(run, plans[-1], saved.step)
    is_at_end = bool(position.is_finished) and position.has_ended(len(recipe.stages))
    if is_at_end and leaving is None and plans[-1].train.interpolate is not None:
        raise InputError(
            f"run {run}: it was stopped after its last step, before train.interpolate",
            remedy=Remedy("continue", argument("resume", True)),
        )
    found = Trained(run, plans[-1], saved.step, tensors, models, plans)
    return found if leaving is None else replace(found, interpolated=leaving.tensors, alpha=leaving.state["alpha"])
