"""Optimises the pixels of one pool of images, a random subset at a time, until the teachers tell the images apart."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unic import rng
from unic.encoders import Encoder
from unic.errors import NotFiniteError
from unic.synthesis.objective import levels, repetition, total_variation
from unic.synthesis.settings import Settings

_SUBSET, _PATCHES = rng.stream("synthesis subset"), rng.stream("synthesis patches")
_NUM_PATCHES = 512  # most patches of a level that are compared


def optimised(
    images: Float[Tensor, "n 3 h w"],
    teachers: Collection[Encoder],
    settings: Settings,
    *,
    pool: int,
    steps: int,
    report: Callable[[int, float], None] = lambda done, objective: None,
) -> Float[Tensor, "n 3 h w"]:
    """The images of a pool after `steps` steps.

    Args:
        images: at least two, in [0, 1], on the teachers' device.
        teachers: frozen.
        settings: only `subset`, `redraw`, `lr`, `variation` and `seed` are used.
        pool: index of the pool, which keys all draws.
        steps: with `settings.subset` images each.
        report: called after each subset with the steps done and the objective of its last step.

    Raises:
        NotFiniteError: the objective is not finite.
    """
    images = images.clone()
    for draw, done in enumerate(range(0, steps, settings.redraw)):
        chosen = _subset(len(images), settings, pool, draw).to(images.device)
        last = min(done + settings.redraw, steps)
        images[chosen], objective = _improved(images[chosen], teachers, settings, pool, range(done, last))
        report(last, objective)
    return images


def _subset(count: int, settings: Settings, pool: int, draw: int) -> Int[Tensor, " b"]:
    """Indices of the images in one draw from a pool.

    A round of draws has each image once. With the few steps of a CPU, independent draws would miss some images.
    """
    per_round = max(1, min(-(-count // settings.subset), count // 2))  # at least two images are compared
    round_, place = divmod(draw, per_round)
    order = rng.uniform(settings.seed, _SUBSET, pool, round_, torch.arange(count)).argsort(stable=True)
    return order.tensor_split(per_round)[place]


def _improved(
    images: Float[Tensor, "b 3 h w"], teachers: Collection[Encoder], settings: Settings, pool: int, steps: range
) -> tuple[Float[Tensor, "b 3 h w"], float]:
    """A subset after these steps of Adam, and the objective of the last."""
    pixels = images.clone().requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=settings.lr)
    loss = torch.zeros(())
    for step in steps:
        draws = rng.uniform(settings.seed, _PATCHES, pool, step, torch.arange(_NUM_PATCHES))
        loss = objective(pixels, teachers, settings.variation, draws.to(pixels.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
    if not loss.isfinite():
        raise NotFiniteError(
            f"synthesis: the objective is {loss.item()} after {steps[-1] + 1} steps of pool {pool}; try a lower "
            "learning rate, or fp32"
        )
    return pixels.detach(), loss.item()


def objective(
    images: Float[Tensor, "b 3 h w"], teachers: Collection[Encoder], variation: float, draws: Float[Tensor, " m"]
) -> Float[Tensor, ""]:
    """Mean repetition over the teachers' levels, and the total variation times its weight.

    Args:
        images: a subset of the pool, in [0, 1].
        teachers: frozen encoders that carry gradients to the pixels.
        variation: weight of the total variation.
        draws: uniform numbers that choose the patches, see `repetition`.
    """
    found = [levels(teacher, images) for teacher in teachers]
    parts = [torch.stack([repetition(level, draws) for level in tokens]).mean() for tokens in found]
    return torch.stack(parts).mean() + variation * total_variation(images)
