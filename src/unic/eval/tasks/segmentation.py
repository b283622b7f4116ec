"""Semantic segmentation: a linear head on frozen patch tokens, mean IoU (arXiv 2304.07193, §7.4)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from unic.errors import InputError
from unic.eval.outcome import IGNORED, Dense, Measure, Outcome, ratio
from unic.eval.probes.dense_head import resize, sampled, train_head

VERSION = 1
INPUT = "dense"
DATA = "masks"


def _mean_iou(means: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    """`100 · mean over classes of ΣI / ΣU`; a class that neither occurs nor is predicted does not count."""
    intersection, union = np.split(means, 2, axis=1)
    iou = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return 100 * ratio(iou.sum(axis=1), (union > 0).sum(axis=1))


MEASURE = Measure("mIoU %", _mean_iou)


def run(
    train: Dense,
    test: Dense,
    *,
    seed: int = 0,
    steps: int | None = None,
    batch_size: int = 16,
    lr: float = 1e-3,
    weight_decay: float = 1e-4,
) -> Outcome:
    """Trains a head on `train` and compares every pixel of `test` that is not ignored.

    Args:
        train: patch tokens with masks, to train the head.
        test: patch tokens with masks, to score it; its classes may be some of those of `train`, in another order.
        seed: seed of the head's first weights and of the order of images.
        steps: steps of AdamW; default: 40 epochs, at least 2000 steps (`train_head`).
        batch_size: images of a step.
        lr: peak learning rate of AdamW.
        weight_decay: weight decay of AdamW.

    Returns:
        The outcome. Marks are the numbers of pixels in the intersection for each class of `train`, then those in the
        union. Details: `iou` of each class that occurs or is predicted, `pixel_accuracy` and `mean_class_accuracy`, in
        percent.

    Raises:
        InputError: an option is out of range, fewer than two classes, or no pixel of a part has a class.
    """
    classes, targets = len(train.classes), sampled(train)
    if classes < 2:
        raise InputError(f"segmentation: needs at least two classes, not {classes}")
    if (targets == IGNORED).all():
        raise InputError("segmentation: no pixel of the training images has a class")
    head = train_head(
        train, targets, classes, _cross_entropy, seed=seed, steps=steps, batch_size=batch_size, lr=lr,
        weight_decay=weight_decay,
    )  # fmt: skip
    class_of = _class_of_values(train.classes, test.classes)
    confusions = np.empty((len(test), 3, classes))
    for row, logits in head.predictions(test, batch_size):
        target = torch.from_numpy(class_of[test.targets[row]]).to(logits.device)
        confusions[row] = _counts(resize(logits, (target.shape[0], target.shape[1])).argmax(0), target, classes)
    right, wanted, given = confusions.transpose(1, 0, 2)
    if not wanted.any():
        raise InputError("segmentation: no pixel of the test images has a class")
    return Outcome(
        np.concatenate([right, wanted + given - right], axis=1), MEASURE, _details(train.classes, confusions)
    )


def _cross_entropy(maps: Float[Tensor, "b k h w"], target: Tensor) -> Tensor:
    """Mean over the pixels that are not ignored; 0 if all are."""
    target = target.long()
    losses = F.cross_entropy(maps, target, ignore_index=IGNORED, reduction="none")
    return losses.sum() / (target != IGNORED).sum().clamp(min=1)


def _class_of_values(train: list[str], test: list[str]) -> Int[np.ndarray, "256"]:
    """The class of `train` for each value of a test mask."""
    class_of = np.full(IGNORED + 1, IGNORED, np.int64)
    class_of[: len(test)] = [train.index(name) for name in test]
    return class_of


def _counts(predicted: Int[Tensor, "h w"], target: Int[Tensor, "h w"], classes: int) -> np.ndarray:
    """Numbers of pixels for each class, without ignored pixels: correct, in the mask, predicted."""
    asked = target != IGNORED
    predicted, target = predicted[asked], target[asked]
    found = (target[predicted == target], target, predicted)
    return torch.stack([torch.bincount(values, minlength=classes) for values in found]).cpu().numpy()


def _details(classes: list[str], confusions: Float[np.ndarray, "n 3 k"]) -> dict[str, object]:
    right, wanted, given = confusions.sum(axis=0)
    union = wanted + given - right
    return {
        "iou": {name: round(100 * float(right[i] / union[i]), 3) for i, name in enumerate(classes) if union[i]},
        "pixel_accuracy": round(100 * float(right.sum() / wanted.sum()), 3),
        "mean_class_accuracy": round(100 * float((right[wanted > 0] / wanted[wanted > 0]).mean()), 3),
    }
