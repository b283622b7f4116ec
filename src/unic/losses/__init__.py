"""Losses: each file holds a function `loss(prediction, target) -> (B,)`, one value per image, or a class `Loss`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch

from unic import lookup
from unic.errors import InputError
from unic.losses.base import KINDS, Dims, Kind, Loss, OfFunction

__all__ = ["KINDS", "Dims", "Kind", "Loss", "Weighted", "build_losses"]


class Weighted(NamedTuple):
    """A loss and its weight."""

    weight: float
    loss: Loss


def build_losses(
    settings: Mapping[str, float | Mapping[str, Any]], dims: Dims, device: torch.device | None = None
) -> dict[str, Weighted]:
    """The losses to one teacher, by name.

    Args:
        settings: `loss` of the recipe: by name the weight, or `weight` (default: 1) and options. A name is a file of
            this package or a dotted path.
        dims: widths of the teacher's CLS and patches; a patch width of 0: only CLS is compared.
        device: of the states.

    Raises:
        InputError: no weight other than 0, an unknown loss, wrong options, or a loss that has nothing to compare.
    """
    losses = {}
    for name, setting in settings.items():
        options = dict(setting) if isinstance(setting, Mapping) else {"weight": setting}
        losses[name] = Weighted(options.pop("weight", 1.0), _build(name, dims, options, device))
    if not any(weight for weight, _ in losses.values()):
        raise InputError("recipe: 'loss' needs at least one entry with a weight that is not 0")
    return losses


def _build(name: str, dims: Dims, options: Mapping[str, Any], device: torch.device | None) -> Loss:
    found, where = lookup.module("unic.losses", name), f"recipe: loss '{name}'"
    if hasattr(found, "loss") or not hasattr(found, "Loss"):
        function = lookup.entry("unic.losses", name, "loss")
        lookup.check_options(function, options, where)
        lookup.check_values(function, options, where)
        return OfFunction(dims, partial(function, **options) if options else function)
    kind = found.Loss
    if not (isinstance(kind, type) and issubclass(kind, Loss)):
        raise InputError(f"loss '{name}': its 'Loss' must be a subclass of unic.losses.base.Loss")
    lookup.check_options(kind, options, where)
    lookup.check_values(kind.__init__, options, where)
    if kind.kinds == ("patch",) and not dims[1]:
        raise InputError(f"{where} compares patches, and the teachers give none (teachers.cache.tokens: cls)")
    return kind(dims, **options).to(device)
