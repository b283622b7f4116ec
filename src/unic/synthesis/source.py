"""A source whose images are made, pool by pool, when they are read. Writing shards of it keeps them, and can resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from unic.arguments import argument
from unic.data.loader import view_batches
from unic.data.sources import DamagedImageError, Source, open_source
from unic.digest import sha256, sha256_of_value
from unic.encoders import Encoder
from unic.errors import InputError
from unic.synthesis.objective import levels
from unic.synthesis.optimise import optimised
from unic.synthesis.settings import Settings


class Synthesised(Source):
    """Images that frozen teachers tell apart as well as they can.

    They should be read in order: all images of a pool are made together, and only one pool stays in memory.

    Args:
        teachers: by name, frozen, on one device.
        settings: of the synthesis.
        report: called with steps done, steps in all and the objective.

    Raises:
        InputError: a teacher without gradients, or too few start images.
    """

    path = "synthesised"

    def __init__(
        self,
        teachers: Mapping[str, Encoder],
        settings: Settings,
        report: Callable[[int, int, float], None] = lambda done, total, objective: None,
    ) -> None:
        self._teachers, self._settings, self._report = dict(teachers), settings, report
        self._start = open_start(settings)
        self._pool, self._made = -1, dict[int, UInt8[Tensor, "3 h w"]]()
        for name, encoder in self._teachers.items():
            _check_gradient(name, encoder)

    def __len__(self) -> int:
        return self._settings.images

    def read(self, index: int) -> Image.Image:
        pool = index // self._settings.pool
        if self._pool != pool:
            self._pool, self._made = pool, self._make(pool)
        if index not in self._made:
            raise DamagedImageError(f"its start image {self._start.name(index)} cannot be read")
        return Image.fromarray(self._made[index].permute(1, 2, 0).numpy())

    def label(self, index: int) -> None:
        return None

    def name(self, index: int) -> str:
        return f"{self.path}[{index}]"

    def fingerprint(self) -> str:
        teachers = [encoder.fingerprint() for encoder in self._teachers.values()]
        described = (teachers, astuple(self._settings), self._start.fingerprint(), _code())
        return sha256_of_value(described)[:16]

    def _make(self, pool: int) -> dict[int, UInt8[Tensor, "3 h w"]]:
        """The images of one pool by index, without those whose start image is damaged."""
        settings, span = self._settings, self._settings.images_of(pool)
        batches = list(view_batches(self._start, size=settings.size, first=span.start, last=span.stop))
        index = torch.cat([batch.index for batch in batches]).tolist()
        if len(index) < 2:
            return {}  # no other image to compare with
        steps = [settings.steps_of(each) for each in range(settings.num_pools)]
        device = next(iter(self._teachers.values())).mean.device
        images = optimised(
            torch.cat([batch.images for batch in batches]).to(device) / 255,
            self._teachers.values(),
            settings,
            pool=pool,
            steps=steps[pool],
            report=lambda done, objective: self._report(sum(steps[:pool]) + done, sum(steps), objective),
        )
        made = (images * 255).round().to(torch.uint8).cpu()
        return dict(zip(index, made, strict=True))


def open_start(settings: Settings) -> Source:
    """The images to start from. Generated ones get `images` and `seed` of the settings, unless their path has them.

    Raises:
        InputError: the source does not exist, or has too few images.
    """
    path = settings.start
    if path.startswith("generated:"):
        options = {"images": settings.images, "seed": settings.seed}
        given = {option.partition("=")[0] for option in path.partition("?")[2].split("&")}
        added = "&".join(f"{key}={value}" for key, value in options.items() if key not in given)
        path += f"{'&' if '?' in path else '?'}{added}" if added else ""
    source = open_source(path)
    if len(source) < settings.images:
        raise InputError(
            f"{argument('start', settings.start)}: has {len(source)} images, fewer than the {settings.images} of "
            f"{argument('images')}"
        )
    return source


def _check_gradient(name: str, encoder: Encoder) -> None:
    """Refuses a teacher whose output has no gradient with respect to the pixels."""
    images = torch.rand(2, 3, *encoder.input_size, device=encoder.mean.device).requires_grad_()
    with torch.enable_grad():
        if not levels(encoder, images)[-1].cls.requires_grad:
            raise InputError(
                f"teacher '{name}' ({encoder.uri}): its output has no gradient for the pixels, because it runs outside "
                "of torch; leave it out, or name the torch model that it was exported from"
            )


def _code() -> str:
    """Hash of the code that makes the images, so that shards are never resumed with other code."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(*(file.read_bytes() for file in files))
