"""Losses: each file holds `loss(prediction, target) -> (B,)`, one value per image. A recipe names the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from unic import lookup
from unic.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]


def build_losses(weights: Mapping[str, float]) -> dict[str, tuple[float, Loss]]:
    """The loss functions with their weights, by name: `{"cosine": 0.5}` → `{"cosine": (0.5, loss)}`.

    Args:
        weights: by name; a name is a file of this package or a dotted path.

    Raises:
        InputError: no weight other than 0, or an unknown loss.
    """
    if not any(weights.values()):
        raise InputError("recipe: 'loss' needs at least one entry with a weight that is not 0")
    return {name: (weight, lookup.entry("unic.losses", name, "loss")) for name, weight in weights.items()}
