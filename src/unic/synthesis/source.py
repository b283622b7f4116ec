"""A source whose images are made pool by pool when they are read: shards of it are how they are kept, and resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from unic import rng
from unic.data.loader import view_batches
from unic.data.sources import Source, open_source
from unic.encoders import Encoder
from unic.errors import InputError
from unic.synthesis.objective import levels, repetition, total_variation

_SUBSET, _PATCHES = rng.stream("synthesis subset"), rng.stream("synthesis patches")
_NUM_PATCHES = 512  # whose cosines one level compares


@dataclass(frozen=True)
class Settings:
    """How images are made. Defaults are for a CPU; the paper's sizes are pools of 250, subsets of 40 and 4,000 steps.

    Attributes:
        images: their number.
        size: side in pixels.
        start: path of the images that the optimisation starts from, of which the first `images` are taken.
        pool: images whose embeddings are kept apart from one another; a pool is made at a time.
        subset: images of a pool that one step compares.
        redraw: steps with one subset.
        steps: of a pool.
        lr: Adam's rate on pixels in [0, 1].
        variation: weight of the total variation.
        seed: of all draws.
    """

    images: int = 1000
    size: int = 128
    start: str = "generated:dead_leaves"
    pool: int = 250
    subset: int = 40
    redraw: int = 10
    steps: int = 200
    lr: float = 0.02
    variation: float = 0.1
    seed: int = 0


class Synthesised(Source):
    """Images that frozen teachers tell apart as well as they can.

    Args:
        teachers: by name, frozen, on one device.
        settings: how images are made.
        report: called with steps done and steps in all.

    Raises:
        InputError: a teacher without gradients, or fewer start images than are wanted.
    """

    path = "synthesised"

    def __init__(
        self,
        teachers: Mapping[str, Encoder],
        settings: Settings,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._teachers, self._settings, self._report = dict(teachers), settings, report
        start = settings.start
        if start.startswith("generated:") and "images=" not in start:
            start += f"{'&' if '?' in start else '?'}images={settings.images}&seed={settings.seed}"
        self._start = open_source(start)
        if len(self._start) < settings.images:
            raise InputError(
                f"data '{settings.start}': {len(self._start)} images, fewer than the {settings.images} wanted"
            )
        self._made: tuple[int, UInt8[Tensor, "n 3 h w"]] = (-1, torch.empty(0, 3, 0, 0, dtype=torch.uint8))
        for name, encoder in self._teachers.items():
            _check_gradient(name, encoder)

    def __len__(self) -> int:
        return self._settings.images

    def read(self, index: int) -> Image.Image:
        pool, place = divmod(index, self._settings.pool)
        if self._made[0] != pool:
            self._made = pool, self._make(pool)
        return Image.fromarray(self._made[1][place].permute(1, 2, 0).numpy())

    def label(self, index: int) -> None:
        return None

    def name(self, index: int) -> str:
        return f"{self.path}[{index}]"

    def fingerprint(self) -> str:
        teachers = [encoder.fingerprint() for encoder in self._teachers.values()]
        described = (teachers, astuple(self._settings), self._start.fingerprint())
        return hashlib.sha256(repr(described).encode()).hexdigest()[:16]

    def _make(self, pool: int) -> UInt8[Tensor, "n 3 h w"]:
        """All images of one pool."""
        settings = self._settings
        first = pool * settings.pool
        last = min(first + settings.pool, len(self))
        device = next(iter(self._teachers.values())).mean.device
        batches = view_batches(self._start, size=settings.size, batch_size=settings.pool, first=first, last=last)
        images = torch.cat([batch.images for batch in batches]).to(device) / 255
        redrawn = range(0, settings.steps, settings.redraw)
        for number, done in enumerate(redrawn):
            keys = rng.uniform(settings.seed, _SUBSET, pool, number, torch.arange(len(images)))
            chosen = keys.argsort(stable=True)[: settings.subset].to(device)
            steps = min(settings.redraw, settings.steps - done)
            images[chosen] = self._improved(images[chosen], steps, (settings.seed, _PATCHES, pool, number))
            num_pools = -(-len(self) // settings.pool)
            self._report(pool * settings.steps + done + steps, num_pools * settings.steps)
        return (images * 255).round().to(torch.uint8).cpu()

    def _improved(
        self, images: Float[Tensor, "b 3 h w"], steps: int, keys: tuple[int, ...]
    ) -> Float[Tensor, "b 3 h w"]:
        """A subset after so many steps of Adam."""
        pixels = images.clone().requires_grad_()
        optimizer = torch.optim.Adam([pixels], lr=self._settings.lr)
        for step in range(steps):
            rows = (rng.uniform(*keys, step, torch.arange(_NUM_PATCHES)) * (1 << 30)).long().to(pixels.device)
            loss = self._settings.variation * total_variation(pixels)
            for encoder in self._teachers.values():
                found = levels(encoder, pixels)
                loss = loss + sum(repetition(level, rows) for level in found) / (len(found) * len(self._teachers))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                pixels.clamp_(0, 1)
        return pixels.detach()


def _check_gradient(name: str, encoder: Encoder) -> None:
    """Refuses a teacher of which pixels cannot learn."""
    images = torch.rand(2, 3, *encoder.input_size, device=encoder.mean.device).requires_grad_()
    with torch.enable_grad():
        if not levels(encoder, images)[-1].cls.requires_grad:
            raise InputError(
                f"teacher '{name}' ({encoder.uri}): it runs outside of torch, so pixels get no gradient; leave it out"
            )
