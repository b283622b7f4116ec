"""Segmentation as DINOv2 publishes it for ADE20K (arXiv 2304.07193, §7.4, linear): random crops, sliding windows.

A batch normalisation and a linear layer on patch tokens learn from random views. A test image is resized so that its
short side is that of a crop; logits of overlapping windows are averaged, resized to the original image, and compared
with its mask.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from unic.errors import InputError
from unic.eval.live import Live
from unic.eval.outcome import IGNORED, Outcome
from unic.eval.probes.confusion import class_of_values, counts, outcome_of
from unic.eval.probes.dense_head import resize
from unic.eval.probes.live_head import LiveHead, Schedule, train
from unic.eval.probes.pixel_views import SegmentationView, batches, with_short_side
from unic.eval.probes.windows import averaged

VERSION = 1

_WARMUP = 1500  # steps, and at most a tenth of all


def run(
    train_part: Live,
    test: Live,
    *,
    seed: int,
    steps: int | None,
    batch_size: int | None,
    lr: float | None,
    weight_decay: float | None,
    crop: int | None,
    stride: int | None,
) -> Outcome:
    """See `unic.eval.tasks.segmentation.run`; defaults: 80,000 steps of 8 images, crops of 512, stride 341."""
    steps = 80_000 if steps is None else steps
    schedule = Schedule(
        steps=steps,
        batch_size=8 if batch_size is None else batch_size,
        lr=1e-3 if lr is None else lr,
        weight_decay=1e-4 if weight_decay is None else weight_decay,
        warmup=(min(_WARMUP, steps // 10), 1e-6),
        decay="linear",
    )
    crop = 512 if crop is None else crop
    stride = round(crop * 341 / 512) if stride is None else stride
    if not 0 < stride <= crop:
        raise InputError(f"segmentation: expected a stride of 1 to {crop}, the side of a crop, not {stride}")
    classes = train_part.classes
    if len(classes) < 2:
        raise InputError(f"segmentation: needs at least two classes, not {len(classes)}")
    head = LiveHead(train_part, len(classes), norm=True, cls=False, std=0.01, seed=seed)
    view = SegmentationView(crop, train_part.mean)
    views = batches(train_part, view, steps=schedule.steps, batch_size=schedule.batch_size, seed=seed)
    train(train_part, head, views, pixel_loss, schedule)
    class_of, confusions = class_of_values(classes, test.classes), []
    for image, mask in test.readable():
        target = torch.from_numpy(class_of[mask]).to(test.device)
        confusions.append(
            counts(logits_of(test, head, image, crop, stride, mask.shape).argmax(0), target, len(classes))
        )
    return outcome_of(classes, np.stack(confusions).astype(np.float64))


def pixel_loss(maps: Float[Tensor, "b k h w"], targets: Tensor, step: int) -> Tensor:
    """Cross-entropy of the resized maps, as a mean over all pixels: an ignored one counts as 0.

    Maps of all pixels are made image by image, and again in the backward pass, as they take much memory.
    """
    sums = [checkpoint(_summed, one, target, use_reentrant=False) for one, target in zip(maps, targets, strict=True)]
    return torch.stack(sums).sum() / targets.numel()


def _summed(maps: Float[Tensor, "k h w"], target: Tensor) -> Tensor:
    logits = resize(maps, (target.shape[0], target.shape[1]))
    return F.cross_entropy(logits[None], target.long()[None], ignore_index=IGNORED, reduction="sum")


@torch.no_grad()
def logits_of(
    live: Live, head: LiveHead, image: Float[Tensor, "3 h w"], crop: int, stride: int, size: tuple[int, ...]
) -> Float[Tensor, "k h2 w2"]:
    """Logits for each pixel of the original image, whose height and width are `size`."""

    def predict(windows: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        return resize(head(live.tokens(windows)), (windows.shape[2], windows.shape[3]))

    logits = averaged(with_short_side(image, crop), predict, window=crop, stride=stride)
    return resize(logits, (size[0], size[1]))
