"""Mean IoU: pixels of each class that are correct, in the mask, and predicted, image by image."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unic.errors import InputError
from unic.eval.outcome import IGNORED, Measure, Outcome, ratio


def _mean_iou(means: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    """`100 · mean over classes of ΣI / ΣU`; a class that neither occurs nor is predicted does not count."""
    intersection, union = np.split(means, 2, axis=1)
    iou = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return 100 * ratio(iou.sum(axis=1), (union > 0).sum(axis=1))


MEASURE = Measure("mIoU %", _mean_iou)


def class_of_values(train: list[str], test: list[str]) -> Int[np.ndarray, "256"]:
    """The class of `train` for each value of a test mask."""
    class_of = np.full(IGNORED + 1, IGNORED, np.int64)
    class_of[: len(test)] = [train.index(name) for name in test]
    return class_of


def counts(predicted: Int[Tensor, "h w"], target: Int[Tensor, "h w"], classes: int) -> np.ndarray:
    """Numbers of pixels for each class, without ignored pixels: correct, in the mask, predicted."""
    asked = target != IGNORED
    predicted, target = predicted[asked], target[asked]
    found = (target[predicted == target], target, predicted)
    return torch.stack([torch.bincount(values, minlength=classes) for values in found]).cpu().numpy()


def outcome_of(classes: list[str], confusions: Float[np.ndarray, "n 3 k"]) -> Outcome:
    """The outcome of the `counts` of all test images. Raises `InputError` if no pixel has a class."""
    right, wanted, given = confusions.transpose(1, 0, 2)
    if not wanted.any():
        raise InputError("segmentation: no pixel of the test images has a class")
    marks = np.concatenate([right, wanted + given - right], axis=1)
    return Outcome(marks, MEASURE, _details(classes, confusions))


def _details(classes: list[str], confusions: Float[np.ndarray, "n 3 k"]) -> dict[str, object]:
    right, wanted, given = confusions.sum(axis=0)
    union = wanted + given - right
    return {
        "iou": {name: round(100 * float(right[i] / union[i]), 3) for i, name in enumerate(classes) if union[i]},
        "pixel_accuracy": round(100 * float(right.sum() / wanted.sum()), 3),
        "mean_class_accuracy": round(100 * float((right[wanted > 0] / wanted[wanted > 0]).mean()), 3),
    }
