"""Depth from one image: a linear head on frozen patch tokens weights bins of depth; RMSE (arXiv 2304.07193, §7.4)."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unic.errors import InputError
from unic.eval.outcome import Dense, Measure, Outcome, ratio
from unic.eval.probes.dense_head import points, resize, sampled, train_head

VERSION = 1
INPUT = "dense"
DATA = "depth"

_FLOOR = 0.1  # lowest weight of a bin before normalisation
_VARIANCE_FOCUS = 0.85  # λ of the loss (Eigen et al., arXiv 1406.2283; AdaBins, arXiv 2011.14141, eq. 4)
_ERRORS = ("rmse", "abs_rel", "log10", "delta1", "delta2", "delta3")


def _mean_of_measured(means: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    return ratio(means[:, 0], means[:, 1])


MEASURE = Measure("RMSE m", _mean_of_measured, lower_is_better=True)


def run(
    train: Dense,
    test: Dense,
    *,
    seed: int = 0,
    min_depth: float = 1e-3,
    max_depth: float = 10.0,
    num_bins: int = 256,
    steps: int | None = None,
    batch_size: int = 16,
    lr: float = 1e-3,
    weight_decay: float = 1e-4,
) -> Outcome:
    """Trains a head on `train` and compares every pixel of `test` whose depth is known and in range.

    The depth of a pixel is `Σ w_j · d_j` over `num_bins` depths `d_j`, evenly from `min_depth` to `max_depth`, with
    `w = (relu(logits) + 0.1)` divided by its sum.

    Args:
        train: patch tokens with depths, to train the head.
        test: patch tokens with depths, to score it.
        seed: seed of the head's first weights and of the order of images.
        min_depth: metres; a pixel at this depth or nearer counts as unknown.
        max_depth: metres; a pixel at this depth or farther counts as unknown.
        num_bins: number of outputs of the head.
        steps: steps of AdamW; default: 40 epochs, at least 2000 steps (`train_head`).
        batch_size: images of a step.
        lr: peak learning rate of AdamW.
        weight_decay: weight decay of AdamW.

    Returns:
        The outcome. Marks are the RMSE of an image, and 1 if any of its depths is known. So the score is the mean of
        the images' errors, as in AdaBins and DINOv2, and not the error over all pixels. Details: means over images of
        `abs_rel`, `log10` and `delta1` … `delta3` (percentage of pixels within a factor of 1.25, 1.25², 1.25³).

    Raises:
        InputError: an option is out of range, or no depth of a part is known.
    """
    if not 0 < min_depth < max_depth or num_bins < 2:
        given = f"min_depth={min_depth}, max_depth={max_depth}, num_bins={num_bins}"
        raise InputError(f"depth: expected a range above 0 and at least 2 bins, not {given}")
    bins = torch.linspace(min_depth, max_depth, num_bins)
    targets = sampled(train)
    if not _known(targets, bins).any():
        raise InputError(f"depth: no training depth lies between {min_depth} and {max_depth} m")
    head = train_head(
        train, targets, num_bins, partial(_loss, bins=bins), seed=seed, steps=steps, batch_size=batch_size, lr=lr,
        weight_decay=weight_decay,
    )  # fmt: skip
    size, errors, measured = points(test), np.zeros((len(test), len(_ERRORS))), np.zeros(len(test))
    for row, logits in head.predictions(test, batch_size):
        target = torch.tensor(test.targets[row], device=logits.device)
        predicted = resize(_depth(resize(logits, size), bins), (target.shape[0], target.shape[1]))
        known = _known(target, bins)
        if known.any():
            errors[row], measured[row] = _errors(predicted[known].double(), target[known].double()), 1
    if not measured.any():
        raise InputError(f"depth: no test depth lies between {min_depth} and {max_depth} m")
    means = errors.sum(axis=0) / measured.sum()
    details = {name: round(float(mean), 4) for name, mean in zip(_ERRORS[1:], means[1:], strict=True)}
    return Outcome(np.stack([errors[:, 0], measured], axis=1), MEASURE, details)


def _depth(logits: Float[Tensor, "*b k h w"], bins: Float[Tensor, " k"]) -> Float[Tensor, "*b h w"]:
    # Both sums in one product: with 256 bins the weights take much memory, so they are not stored.
    sums = torch.stack([bins, torch.ones_like(bins)]).to(logits.device)
    weighed = sums @ logits.relu().flatten(-2) + _FLOOR * sums.sum(1, keepdim=True)
    return (weighed[..., 0, :] / weighed[..., 1, :]).unflatten(-1, logits.shape[-2:])


def _known(depth: Float[Tensor, "..."], bins: Float[Tensor, " k"]) -> Bool[Tensor, "..."]:
    return (depth > bins[0]) & (depth < bins[-1])


def _loss(logits: Float[Tensor, "b k h w"], target: Float[Tensor, "b h w"], *, bins: Float[Tensor, " k"]) -> Tensor:
    """Scale-invariant: `sqrt(mean g² − λ · (mean g)²)` over the known pixels, `g = log(predicted) − log(target)`."""
    known = _known(target, bins)
    g = torch.where(known, _depth(logits, bins).log() - torch.where(known, target, 1.0).log(), 0.0)
    count = known.sum().clamp(min=1)
    square, mean = g.square().sum() / count, g.sum() / count
    return (square - _VARIANCE_FOCUS * mean.square() + 1e-8).sqrt()  # 1e-8, as a root has no gradient at 0


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
