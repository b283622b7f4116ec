"""Depth as DINOv2 publishes it for NYUd (arXiv 2304.07193, §7.4, "lin. 1"): crops of many frames, flip averaging.

A linear layer on each patch token with CLS beside it weighs 256 bins on a grid that is four times finer. The loss is
the scale-invariant log error plus half a gradient loss. A test image is read whole and mirrored, and both depths are
averaged at the size of the original.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError
from unic.eval.live import Live
from unic.eval.outcome import Outcome
from unic.eval.probes.dense_head import resize
from unic.eval.probes.depth_bins import bins_between, depth_of, known, outcome_of
from unic.eval.probes.live_head import LiveHead, Schedule, train
from unic.eval.probes.pixel_views import DepthView, batches

VERSION = 1

_FINER = 4  # points of the maps for each patch and axis
_WARMUP = 12_800  # steps, and at most a third of all
_EPS = 1e-3  # metres, added before a logarithm
_SCALE_WEIGHT = 0.15  # of the squared mean, beside the variance
_FIRST = 100  # steps in which only the mean counts
_STRIDES = (1, 2, 4, 6)  # of the points whose gradients are compared
_APART = 2  # points between the two ends of a gradient


def run(
    train_part: Live,
    test: Live,
    *,
    seed: int,
    min_depth: float,
    max_depth: float,
    num_bins: int,
    steps: int | None,
    batch_size: int | None,
    lr: float | None,
    weight_decay: float | None,
    crop: Sequence[int] | None,
    gradient: float | None,
) -> Outcome:
    """See `unic.eval.tasks.depth.run`; defaults: 38,400 steps of 16 images, crops of 416 × 544, lr 3e-4."""
    bins = bins_between(min_depth, max_depth, num_bins)
    steps = 38_400 if steps is None else steps
    schedule = Schedule(
        steps=steps,
        batch_size=16 if batch_size is None else batch_size,
        lr=3e-4 if lr is None else lr,
        weight_decay=1e-2 if weight_decay is None else weight_decay,
        warmup=(min(_WARMUP, steps // 3), 1e-3),
        decay="cosine",
        betas=(0.95, 0.999),
        cycled=0.85,
        clip=35.0,
    )
    size, weight = tuple(crop or (416, 544)), 0.5 if gradient is None else gradient
    if len(size) != 2 or min(size) < 1 or weight < 0:
        raise InputError(f"depth: expected crop=[HEIGHT, WIDTH] and gradient of 0 or more, not {crop} and {gradient}")

    def loss(maps: Float[Tensor, "b k h w"], targets: Float[Tensor, "b h2 w2"], step: int) -> Tensor:
        predicted = resize(_depth(maps, bins), (targets.shape[1], targets.shape[2]))
        is_known = known(targets, bins)
        scale = scale_loss(predicted, targets, is_known, with_variance=step >= _FIRST)
        return scale + weight * gradient_loss(predicted, targets, is_known)

    head = LiveHead(train_part, num_bins, norm=False, cls=True, std=None, seed=seed)
    view = DepthView((size[0], size[1]), train_part.mean)
    views = batches(train_part, view, steps=schedule.steps, batch_size=schedule.batch_size, seed=seed)
    train(train_part, head, views, loss, schedule)
    return outcome_of(_predictions(test, head, bins), bins)


def _depth(maps: Float[Tensor, "b k h w"], bins: Float[Tensor, " k"]) -> Float[Tensor, "b h2 w2"]:
    # Resized logits are those of resized tokens, as the layer is linear.
    return depth_of(resize(maps, (_FINER * maps.shape[2], _FINER * maps.shape[3])), bins)


def scale_loss(
    predicted: Float[Tensor, "b h w"], target: Float[Tensor, "b h w"], is_known: Tensor, *, with_variance: bool
) -> Tensor:
    """`sqrt(var g + 0.15 · (mean g)²)` over the known pixels of the batch, `g = log(predicted) − log(target)`.

    In the first steps the variance is left out (AdaBins, arXiv 2011.14141, eq. 4, as DINOv2 uses it).
    """
    g = (predicted[is_known] + _EPS).log() - (target[is_known] + _EPS).log()
    if len(g) < 2:
        return predicted.sum() * 0
    square = _SCALE_WEIGHT * g.mean().square()
    return ((square + g.var() if with_variance else square) + 1e-12).sqrt()  # a root has no gradient at 0


def gradient_loss(predicted: Float[Tensor, "b h w"], target: Float[Tensor, "b h w"], is_known: Tensor) -> Tensor:
    """Sum over strides of `Σ |g(p) − g(q)| / N`, for known points p, q two apart in a row or a column (MegaDepth, arXiv
    1804.00607, §4.2).

    Every point, every second, fourth and sixth are taken; N is the number of known points among them.
    """
    g = torch.where(is_known, (predicted + _EPS).log() - (target + _EPS).log(), 0.0)
    total = predicted.sum() * 0
    for stride in _STRIDES:
        points, here = g[:, ::stride, ::stride], is_known[:, ::stride, ::stride]
        count = here.sum().clamp(min=1)
        for axis in (1, 2):
            length = points.shape[axis] - _APART
            if length > 0:
                both = here.narrow(axis, 0, length) & here.narrow(axis, _APART, length)
                steps = (points.narrow(axis, 0, length) - points.narrow(axis, _APART, length)).abs()
                total = total + (steps * both).sum() / count
    return total


@torch.no_grad()
def flip_averaged(
    live: Live, head: LiveHead, image: Float[Tensor, "3 h w"], bins: Float[Tensor, " k"]
) -> Float[Tensor, "h w"]:
    """The mean of the depths of an image and of its mirror image, at the size of the image."""
    both = torch.stack([image, image.flip(2)])
    plain, mirrored = resize(_depth(head(live.tokens(both)), bins), (image.shape[1], image.shape[2]))
    return (plain + mirrored.flip(1)) / 2


def _predictions(test: Live, head: LiveHead, bins: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for image, target in test.readable():
        yield flip_averaged(test, head, image, bins), torch.tensor(target, device=test.device)
