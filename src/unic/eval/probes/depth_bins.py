"""Depth from weighted bins, `Σ w_j · d_j` with `w = (relu(logits) + 0.1) / Σ` (AdaBins, arXiv 2011.14141), and its
errors for each image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unic.errors import InputError
from unic.eval.outcome import Measure, Outcome, ratio

_FLOOR = 0.1  # lowest weight of a bin before normalisation
_ERRORS = ("rmse", "abs_rel", "log10", "delta1", "delta2", "delta3")


def _mean_of_measured(means: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    return ratio(means[:, 0], means[:, 1])


MEASURE = Measure("RMSE m", _mean_of_measured, lower_is_better=True)


def bins_between(min_depth: float, max_depth: float, num_bins: int) -> Float[Tensor, " k"]:
    """Depths at equal distances. Raises `InputError` for a range or a number that makes no sense."""
    if not 0 < min_depth < max_depth or num_bins < 2:
        given = f"min_depth={min_depth}, max_depth={max_depth}, num_bins={num_bins}"
        raise InputError(f"depth: expected a range above 0 and at least 2 bins, not {given}")
    return torch.linspace(min_depth, max_depth, num_bins)


def depth_of(logits: Float[Tensor, "*b k h w"], bins: Float[Tensor, " k"]) -> Float[Tensor, "*b h w"]:
    # Both sums in one product: with 256 bins the weights take much memory, so they are not stored.
    sums = torch.stack([bins, torch.ones_like(bins)]).to(logits.device)
    weighed = sums @ logits.relu().flatten(-2) + _FLOOR * sums.sum(1, keepdim=True)
    return (weighed[..., 0, :] / weighed[..., 1, :]).unflatten(-1, logits.shape[-2:])


def known(depth: Float[Tensor, "..."], bins: Float[Tensor, " k"]) -> Bool[Tensor, "..."]:
    """Where a depth is known and in range."""
    return (depth > bins[0]) & (depth < bins[-1])


def outcome_of(
    pairs: Iterable[tuple[Float[Tensor, "..."], Float[Tensor, "..."]]], bins: Float[Tensor, " k"]
) -> Outcome:
    """The outcome of the prediction and the target of each test image.

    Marks are the RMSE of an image, and 1 if any of its depths is known; details are means over images.

    Raises:
        InputError: no depth of any image is known.
    """
    rows, is_measured = [], []
    for predicted, target in pairs:
        asked = known(target, bins)
        is_measured.append(bool(asked.any()))
        rows.append(_errors(predicted[asked].double(), target[asked].double()) if asked.any() else [0.0] * len(_ERRORS))
    errors, measured = np.array(rows), np.array(is_measured, np.float64)
    if not measured.any():
        low, high = float(bins[0]), float(bins[-1])
        raise InputError(f"depth: no test depth lies between {low:g} and {high:g} m")
    means = errors.sum(axis=0) / measured.sum()
    details = {name: round(float(mean), 4) for name, mean in zip(_ERRORS[1:], means[1:], strict=True)}
    return Outcome(np.stack([errors[:, 0], measured], axis=1), MEASURE, details)


def _errors(predicted: Float[Tensor, " p"], target: Float[Tensor, " p"]) -> list[float]:
    """The values of `_ERRORS` over the known pixels of one image."""
    difference = predicted - target
    ratio = torch.maximum(predicted / target, target / predicted)
    values = [
        difference.square().mean().sqrt(),
        (difference.abs() / target).mean(),
        (predicted.log10() - target.log10()).abs().mean(),
        *(100 * (ratio < 1.25**power).double().mean() for power in (1, 2, 3)),
    ]
    return torch.stack(values).tolist()
