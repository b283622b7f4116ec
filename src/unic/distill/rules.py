"""The rules that a run trains by. A checkpoint names them, so that a resume goes on as the run began.

Rules 1 are those of checkpoints that name none: the first version of unic wrote them. They differ from the present ones
in the learning rate (`first_learning_rate`), in having no floor of σ, and in a student's mean and std, which were those
of its architecture (`first_normalisation`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from unic.config import Recipe
from unic.encoders import Encoder, parse_uri
from unic.encoders.base import IMAGENET_MEAN, IMAGENET_STD
from unic.encoders.timm import TimmEncoder

PRESENT = 2
FIRST_LINE = (
    "the run was begun by an earlier version of unic and goes on by its rules: "
    "learning rate, the student's mean and std, no standardize.floor"
)

Normalisation = tuple[list[float], list[float]]
"""Mean and std of an encoder, one number for each channel, for images in [0, 1]."""


def rules_of(state: Mapping[str, Any]) -> int:
    """The rules by which a checkpoint with this state was trained."""
    return int(state.get("rules", 1))


def recipe_under(rules: int, recipe: Recipe) -> Recipe:
    """The recipe without what its rules do not know."""
    if rules >= PRESENT or "floor" not in recipe.standardize.options:
        return recipe
    known = {key: value for key, value in recipe.standardize.model_dump().items() if key != "floor"}
    return recipe.model_copy(update={"standardize": type(recipe.standardize).model_validate(known)})


def first_learning_rate(step: int, total_steps: int, warmup_steps: int, peak: float, last: float) -> float:
    """The rate of rules 1: a warm-up that reaches `peak` at W, a cosine that reaches `last` at T. Arguments: see
    `unic.distill.optimizer.learning_rate`.
    """
    if step <= warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return last + (peak - last) * 0.5 * (1 + math.cos(math.pi * progress))


def normalisation_of(encoder: Encoder) -> Normalisation:
    return encoder.mean.flatten().tolist(), encoder.std.flatten().tolist()


def saved_normalisation(state: Mapping[str, Any], student: Encoder) -> Normalisation:
    """The mean and std that a checkpoint's student was trained with; by rules 1 those of its architecture."""
    if "normalisation" in state:
        mean, std = state["normalisation"]
        return list(mean), list(std)
    return first_normalisation(student)


def first_normalisation(student: Encoder) -> Normalisation:
    """Mean and std by rules 1: the URI's, else those of the architecture's default weights."""
    spec = parse_uri(student.uri)
    if spec.scheme != "timm" or not isinstance(student, TimmEncoder):
        return normalisation_of(student)
    config = student.model.pretrained_cfg
    mean, std = spec.mean_std(config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD))
    return list(mean), list(std)
