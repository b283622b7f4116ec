"""Losses: each file holds a function `loss(prediction, target) -> (B,)`, one value per image, or a class `Loss`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch

from unic import lookup
from unic.errors import InputError
from unic.kinds import KINDS, Kind, Widths
from unic.losses.base import Dims, Loss, OfFunction
from unic.recipe.teachers import Matched

__all__ = ["KINDS", "Dims", "Kind", "Loss", "Weighted", "build_losses", "matched_by"]


class Weighted(NamedTuple):
    """A loss and its weight."""

    weight: float
    loss: Loss


def build_losses(
    settings: Mapping[str, float | Mapping[str, Any]],
    dims: Widths,
    device: torch.device | None = None,
    *,
    key: str = "loss",
) -> dict[str, Weighted]:
    """The losses to one teacher, by name; those that compare none of the tokens that it is matched by are left out.

    Args:
        settings: `loss` of the recipe: by name the weight, or `weight` (default: 1) and options. A name is a file of
            this package or a dotted path.
        dims: widths of the teacher's CLS and patches; 0 for what it is not matched by.
        device: device of the states.
        key: key of the settings in the recipe, for the line of an error.

    Raises:
        InputError: no weight other than 0, an unknown loss, wrong options, or no loss that compares what the teacher is
            matched by.
    """
    losses, weights = {}, []
    for name, setting in settings.items():
        options = dict(setting) if isinstance(setting, Mapping) else {"weight": setting}
        weights.append(options.pop("weight", 1.0))
        loss = _build(name, dims, options, device, f"recipe: {key} '{name}'")
        if loss is not None:
            losses[name] = Weighted(weights[-1], loss)
    if not any(weights):
        raise InputError(f"recipe: '{key}' needs at least one entry with a weight that is not 0")
    if not _compared(losses):
        matched = "CLS" if dims[0] else "patches"
        raise InputError(f"recipe: '{key}': no loss compares {matched}, by which alone a teacher is matched")
    return losses


def matched_by(losses: Mapping[str, Weighted]) -> Matched:
    """The tokens of a teacher that its losses compare; the recipe may match it by more.

    Args:
        losses: result of `build_losses`.
    """
    compared = _compared(losses)
    if len(compared) == len(KINDS):
        return "both"
    return "cls" if compared == ["cls"] else "patches"


def _compared(losses: Mapping[str, Weighted]) -> list[Kind]:
    """The kinds of tokens that a loss with a weight other than 0 compares."""
    counted = [loss for weight, loss in losses.values() if weight]
    return [
        kind for place, kind in enumerate(KINDS) if any(kind in loss.kinds and loss.dims[place] for loss in counted)
    ]


def _build(name: str, dims: Widths, options: Mapping[str, Any], device: torch.device | None, where: str) -> Loss | None:
    found = lookup.module("unic.losses", name)
    if hasattr(found, "loss") or not hasattr(found, "Loss"):
        function = lookup.entry("unic.losses", name, "loss")
        lookup.check_options(function, options, where)
        lookup.check_values(function, options, where)
        return OfFunction(dims, partial(function, **options) if options else function)
    kind = lookup.subclass("unic.losses", name, "Loss", Loss)
    lookup.check_options(kind, options, where)
    lookup.check_values(kind.__init__, options, where)
    if not any(dim for each, dim in zip(KINDS, dims, strict=True) if each in kind.kinds):
        return None
    return kind(dims, **options).to(device)
