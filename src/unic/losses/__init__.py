"""Losses: each file holds `loss(prediction, target) -> (B,)`, one value per image, named in a recipe by its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from unic import lookup
from unic.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]


def build_losses(weights: Mapping[str, float]) -> dict[str, tuple[float, Loss]]:
    """`{"cosine": 0.5, "smooth_l1": 0.5}` → the functions with their weights; names are files or dotted paths."""
    if not any(weights.values()):
        raise InputError("recipe: 'loss' needs at least one entry with a weight that is not 0")
    return {name: (weight, lookup.entry("unic.losses", name, "loss")) for name, weight in weights.items()}
