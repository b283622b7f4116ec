"""Depth from one image: a linear head on frozen patch tokens weights bins of depth; RMSE (arXiv 2304.07193, §7.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError
from unic.eval.datasets import DataPair
from unic.eval.live import Live, refuse_unless_live
from unic.eval.outcome import Dense, Outcome
from unic.eval.probes.dense_head import points, resize, sampled, train_head
from unic.eval.probes.depth_bins import MEASURE, bins_between, depth_of, known, outcome_of
from unic.eval.tasks import _depth_dinov2

__all__ = ["MEASURE", "run"]

VERSION = 1
INPUT = "dense"
DATA = "depth"
LIVE = {"dinov2": _depth_dinov2}

_VARIANCE_FOCUS = 0.85  # λ of the loss (Eigen et al., arXiv 1406.2283; AdaBins, arXiv 2011.14141, eq. 4)


def check(pair: DataPair, options: Mapping[str, Any]) -> None:
    """Refuses options that only the protocol `dinov2` has, where it is not asked for. Raises `InputError`."""
    refuse_unless_live("depth", options, "crop", "gradient")


def run(
    train: Dense | Live,
    test: Dense | Live,
    *,
    seed: int = 0,
    protocol: Literal["dinov2"] | None = None,
    min_depth: float = 1e-3,
    max_depth: float = 10.0,
    num_bins: int = 256,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    crop: list[int] | None = None,
    gradient: float | None = None,
) -> Outcome:
    """Trains a head on `train` and compares every pixel of `test` whose depth is known and in range.

    The depth of a pixel is `Σ w_j · d_j` over `num_bins` depths `d_j`, evenly from `min_depth` to `max_depth`, with
    `w = (relu(logits) + 0.1)` divided by its sum.

    Args:
        train: patch tokens with depths, to train the head; with a protocol, images and their encoder.
        test: the same to score it.
        seed: seed of the head's first weights, of the order of images and of random views.
        protocol: "dinov2": random crops, CLS beside the patches, a gradient loss and flip averaging at the original
            resolution (`_depth_dinov2`). Default: whole images, whose features are cached.
        min_depth: metres; a pixel at this depth or nearer counts as unknown.
        max_depth: metres; a pixel at this depth or farther counts as unknown.
        num_bins: number of outputs of the head.
        steps: steps of AdamW; default: 40 epochs, at least 2000 steps (`train_head`); dinov2: 38,400.
        batch_size: images of a step; default: 16.
        lr: peak learning rate of AdamW; default: 1e-3; dinov2: 3e-4.
        weight_decay: weight decay of AdamW; default: 1e-4; dinov2: 1e-2.
        crop: dinov2 only: height and width of a crop; default: 416 and 544.
        gradient: dinov2 only: weight of the gradient loss; default: 0.5.

    Returns:
        The outcome. Marks are the RMSE of an image, and 1 if any of its depths is known. So the score is the mean of
        the images' errors, as in AdaBins and DINOv2, and not the error over all pixels. Details: means over images of
        `abs_rel`, `log10` and `delta1` … `delta3` (percentage of pixels within a factor of 1.25, 1.25², 1.25³).

    Raises:
        InputError: an option is out of range, or no depth of a part is known.
    """
    if isinstance(train, Live):
        assert isinstance(test, Live)
        return _depth_dinov2.run(
            train, test, seed=seed, min_depth=min_depth, max_depth=max_depth, num_bins=num_bins, steps=steps,
            batch_size=batch_size, lr=lr, weight_decay=weight_decay, crop=crop, gradient=gradient,
        )  # fmt: skip
    assert isinstance(test, Dense)
    bins = bins_between(min_depth, max_depth, num_bins)
    targets = sampled(train)
    if not known(targets, bins).any():
        raise InputError(f"depth: no training depth lies between {min_depth} and {max_depth} m")
    batch_size = 16 if batch_size is None else batch_size
    head = train_head(
        train, targets, num_bins, partial(_loss, bins=bins), seed=seed, steps=steps, batch_size=batch_size,
        lr=1e-3 if lr is None else lr, weight_decay=1e-4 if weight_decay is None else weight_decay,
    )  # fmt: skip
    return outcome_of(_at_full_size(head.predictions(test, batch_size), test, bins), bins)


def _at_full_size(
    found: Iterator[tuple[int, Tensor]], test: Dense, bins: Float[Tensor, " k"]
) -> Iterator[tuple[Tensor, Tensor]]:
    """The prediction and the target of each image, from the logits on the grid of the patches."""
    size = points(test)
    for row, logits in found:
        target = torch.tensor(test.targets[row], device=logits.device)
        yield resize(depth_of(resize(logits, size), bins), (target.shape[0], target.shape[1])), target


def _loss(logits: Float[Tensor, "b k h w"], target: Float[Tensor, "b h w"], *, bins: Float[Tensor, " k"]) -> Tensor:
    """Scale-invariant: `sqrt(mean g² − λ · (mean g)²)` over the known pixels, `g = log(predicted) − log(target)`."""
    is_known = known(target, bins)
    g = torch.where(is_known, depth_of(logits, bins).log() - torch.where(is_known, target, 1.0).log(), 0.0)
    count = is_known.sum().clamp(min=1)
    square, mean = g.square().sum() / count, g.sum() / count
    return (square - _VARIANCE_FOCUS * mean.square() + 1e-8).sqrt()  # 1e-8, as a root has no gradient at 0
