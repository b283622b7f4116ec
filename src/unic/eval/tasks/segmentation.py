"""Semantic segmentation: a linear head on frozen patch tokens, mean IoU (arXiv 2304.07193, §7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError
from unic.eval.datasets import DataPair
from unic.eval.live import Live, refuse_unless_live
from unic.eval.outcome import IGNORED, Dense, Outcome
from unic.eval.probes.confusion import MEASURE, class_of_values, counts, outcome_of
from unic.eval.probes.dense_head import resize, sampled, train_head
from unic.eval.tasks import _segmentation_dinov2

__all__ = ["MEASURE", "run"]

VERSION = 1
INPUT = "dense"
DATA = "masks"
LIVE = {"dinov2": _segmentation_dinov2}


def check(pair: DataPair, options: Mapping[str, Any]) -> None:
    """Refuses options that only the protocol `dinov2` has, where it is not asked for. Raises `InputError`."""
    refuse_unless_live("segmentation", options, "crop", "stride")


def run(
    train: Dense | Live,
    test: Dense | Live,
    *,
    seed: int = 0,
    protocol: Literal["dinov2"] | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    crop: int | None = None,
    stride: int | None = None,
) -> Outcome:
    """Trains a head on `train` and compares every pixel of `test` that is not ignored.

    Args:
        train: patch tokens with masks, to train the head; with a protocol, images and their encoder.
        test: the same to score it; its classes may be some of those of `train`, in another order.
        seed: seed of the head's first weights, of the order of images and of random views.
        protocol: "dinov2": random crops and sliding windows at the original resolution (`_segmentation_dinov2`).
            Default: whole images, whose features are cached.
        steps: steps of AdamW; default: 40 epochs, at least 2000 steps (`train_head`); dinov2: 80,000.
        batch_size: images of a step; default: 16; dinov2: 8.
        lr: peak learning rate of AdamW; default: 1e-3.
        weight_decay: weight decay of AdamW; default: 1e-4.
        crop: dinov2 only: side of crops and windows, and short side of a test image; default: 512.
        stride: dinov2 only: pixels between two windows; default: 341 of 512.

    Returns:
        The outcome. Marks are the numbers of pixels in the intersection for each class of `train`, then those in the
        union. Details: `iou` of each class that occurs or is predicted, `pixel_accuracy` and `mean_class_accuracy`, in
        percent.

    Raises:
        InputError: an option is out of range, fewer than two classes, or no pixel of a part has a class.
    """
    if isinstance(train, Live):
        assert isinstance(test, Live)
        return _segmentation_dinov2.run(
            train, test, seed=seed, steps=steps, batch_size=batch_size, lr=lr, weight_decay=weight_decay, crop=crop,
            stride=stride,
        )  # fmt: skip
    assert isinstance(test, Dense)
    classes, targets = len(train.classes), sampled(train)
    if classes < 2:
        raise InputError(f"segmentation: needs at least two classes, not {classes}")
    if (targets == IGNORED).all():
        raise InputError("segmentation: no pixel of the training images has a class")
    batch_size = 16 if batch_size is None else batch_size
    head = train_head(
        train, targets, classes, _cross_entropy, seed=seed, steps=steps, batch_size=batch_size,
        lr=1e-3 if lr is None else lr, weight_decay=1e-4 if weight_decay is None else weight_decay,
    )  # fmt: skip
    class_of = class_of_values(train.classes, test.classes)
    confusions = np.empty((len(test), 3, classes))
    for row, logits in head.predictions(test, batch_size):
        target = torch.from_numpy(class_of[test.targets[row]]).to(logits.device)
        confusions[row] = counts(resize(logits, (target.shape[0], target.shape[1])).argmax(0), target, classes)
    return outcome_of(train.classes, confusions)


def _cross_entropy(maps: Float[Tensor, "b k h w"], target: Tensor) -> Tensor:
    """Mean over the pixels that are not ignored; 0 if all are."""
    target = target.long()
    losses = F.cross_entropy(maps, target, ignore_index=IGNORED, reduction="none")
    return losses.sum() / (target != IGNORED).sum().clamp(min=1)
