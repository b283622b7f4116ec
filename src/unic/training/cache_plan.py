"""What a teacher cache consists of: one shard per teacher, view and stretch of the images; its size, budget and time.

A shard is an entry of the feature cache (`unic.features`): named by a hash of the teacher, the images, the view and the
stretch, with checksums of its own. So each is found, finished, checked and built again without the others.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch

from unic._scratch import can_write, scratch
from unic.cores import beside
from unic.data.augment import preset
from unic.data.image_list import ImageList
from unic.data.loader import view_batches
from unic.data.mix import Mix
from unic.data.sources import Source
from unic.encoders import Encoder
from unic.errors import FullDiskError, InputError
from unic.features import Extraction, Features, default_cache_dir, find
from unic.features.patches import BYTES
from unic.quantities import gigabytes, num_bytes
from unic.recipe.schema import Recipe
from unic.recipe.sections import CacheSection
from unic.tokens import Grid

_SHARD_BYTES = 1 << 30  # of a shard at most, and
_SHARD_IMAGES = 16384  # of its images: what a damaged byte costs to build again
_BATCH = 64
_TIMED = 16  # images


class Stretch(NamedTuple):
    """Consecutive images: `span` of a source (None: all of it).

    `start` is where they begin in the whole list, `offset` the place in it of what the source calls image 0.
    """

    source: Source
    span: tuple[int, int] | None
    start: int
    offset: int
    num_images: int


class Shard(NamedTuple):
    """One entry; `number` counts the stretches of its teacher."""

    teacher: str
    view: int
    number: int


class CachePlan:
    """The shards of a recipe's cache.

    Args:
        recipe: one with `teachers.cache`.
        encoders: the teachers.
        grids: their own.
        images: of `recipe.data`.
    """

    def __init__(
        self, recipe: Recipe, encoders: Mapping[str, Encoder], grids: Mapping[str, Grid], images: ImageList
    ) -> None:
        assert recipe.teachers.cache is not None
        self.recipe, self.setting = recipe, recipe.teachers.cache
        self.encoders, self.grids, self.images = dict(encoders), dict(grids), images
        self.folder = Path(self.setting.dir) if self.setting.dir else default_cache_dir()
        self.mix = Mix.of(recipe.data.mix)
        # Without augmentation a source that fits into one shard has a name of its own, so that an evaluation on the
        # same images finds it; random views are keyed by the place in the whole list.
        is_random = preset(recipe.data.augment).is_random or self.mix is not None
        sources: Sequence[Source] = [images] if is_random else images.sources
        self.stretches = {name: _cut(sources, self._images_per_shard(name)) for name in encoders}
        self.fingerprints = {name: encoder.fingerprint() for name, encoder in encoders.items()}
        self._fingerprint_of = {id(source): source.fingerprint() for source in sources}

    def shards(self) -> list[Shard]:
        return [
            Shard(name, view, number)
            for name, stretches in self.stretches.items()
            for view in range(self.setting.views)
            for number in range(len(stretches))
        ]

    def stretch(self, shard: Shard) -> Stretch:
        return self.stretches[shard.teacher][shard.number]

    def extraction(self, shard: Shard, progress: Callable[[int, int], None] | None = None) -> Extraction:
        """What makes this shard."""
        name, data = shard.teacher, self.recipe.data
        source, span, *_ = self.stretch(shard)
        return Extraction(
            self.encoders[name], source, data.size, data.augment, self.recipe.seed, shard.view,
            patch_grid=cached_grid(self.setting, self.grids[name]), batch_size=_BATCH, workers=data.workers,
            dtype=self.setting.dtype, progress=progress, span=span,
            known=(self.fingerprints[name], self._fingerprint_of[id(source)]), mix=self.mix,
        )  # fmt: skip

    def find(self, shard: Shard) -> Features | None:
        return find(self.extraction(shard), self.folder, "rows")

    def is_shared(self) -> bool:
        """Whether one process finds what another one makes."""
        return can_write(self.folder) and not any(encoder.unidentified() for encoder in self.encoders.values())

    def missing(self) -> list[Shard]:
        """What is not on the disk, or not sound there."""
        return [shard for shard in self.shards() if self.find(shard) is None]

    def num_bytes(self, shards: Sequence[Shard]) -> int:
        each = {name: image_bytes(self.setting, teacher, self.grids[name]) for name, teacher in self.encoders.items()}
        return sum(self.stretch(shard).num_images * each[shard.teacher] for shard in shards)

    def check_room(self, missing: Sequence[Shard]) -> None:
        """Refuses what does not fit on the disk, before anything is computed."""
        target = self.folder if can_write(self.folder) else scratch()  # what may not be kept lies there
        place = next(folder for folder in (target, *target.absolute().parents) if folder.exists())
        needed, free = self.num_bytes(missing), shutil.disk_usage(place).free
        if needed > free:
            raise FullDiskError(
                f"teacher cache {self.folder}: {gigabytes(needed)} more needed, {gigabytes(free)} free; set "
                "teachers.cache.dir to another disk, or use fewer views, tokens: pooled:GxG or dtype: int8"
            )

    @torch.no_grad()
    def seconds_per_image(self) -> dict[str, float]:
        """What a view costs, by teacher, decoding included: measured on a few images."""
        data = self.recipe.data
        started = time.perf_counter()
        few = min(len(self.images), _TIMED)
        batch = next(view_batches(self.images, size=data.size, augment=data.augment, batch_size=_TIMED, last=few))
        count = max(len(batch), 1)
        decoding = (time.perf_counter() - started) / count
        seconds = {}
        for name, encoder in self.encoders.items():
            images = batch.images.to(encoder.mean.device)
            views = preset(data.augment)(images, self.recipe.seed, batch.view, batch.index)
            with beside(data.workers):
                for _ in range(2):  # the first one warms up
                    started = time.perf_counter()
                    encoder(views).cls.cpu()
            forward = (time.perf_counter() - started) / count
            # Workers decode while the teacher computes.
            seconds[name] = max(forward, decoding / data.workers) if data.workers else forward + decoding
        return seconds

    def seconds(self, shards: Sequence[Shard], each: Mapping[str, float]) -> float:
        """To build them, one after another, given `seconds_per_image`."""
        return sum(self.stretch(shard).num_images * each[shard.teacher] for shard in shards)

    def _images_per_shard(self, name: str) -> int:
        fitting = _SHARD_BYTES // image_bytes(self.setting, self.encoders[name], self.grids[name])
        return max(min(fitting, _SHARD_IMAGES) // _BATCH, 1) * _BATCH


def _cut(sources: Sequence[Source], most: int) -> list[Stretch]:
    """Sources into stretches of at most so many images."""
    stretches = []
    offsets = accumulate((len(source) for source in sources), initial=0)
    for source, offset in zip(sources, offsets, strict=False):
        for first in range(0, len(source), most):
            last = min(first + most, len(source))
            span = None if last - first == len(source) else (first, last)
            stretches.append(Stretch(source, span, offset + first, offset, last - first))
    return stretches


def cached_grid(setting: CacheSection, own: Grid) -> Grid | None:
    """The grid that is stored: the teacher's own for `all`, `GxG` for `pooled:GxG`, none for `cls`."""
    if setting.tokens == "cls":
        return None
    match = re.fullmatch(r"pooled:(\d+)x(\d+)", setting.tokens)
    return (int(match[1]), int(match[2])) if match else own


def image_bytes(setting: CacheSection, encoder: Encoder, own: Grid) -> int:
    """Of one view of an image: patches in `dtype`; what evaluation reads (CLS, mean of patches) in float32."""
    grid = cached_grid(setting, own)
    vectors = 4 * (encoder.embed_dim + encoder.patch_dim) + 8 * 3  # its number and a sum of each array
    if grid is None:
        return vectors
    ranges = 4 * encoder.patch_dim + 8 if setting.dtype == "int8" else 0
    return vectors + 8 + BYTES[setting.dtype] * grid[0] * grid[1] * encoder.patch_dim + ranges


def cache_bytes(
    setting: CacheSection, encoders: Mapping[str, Encoder], grids: Mapping[str, Grid], num_images: int
) -> int:
    """Size of the finished cache, before it is planned in detail."""
    per_view = sum(image_bytes(setting, encoder, grids[name]) for name, encoder in encoders.items())
    return per_view * num_images * setting.views


def check_budget(setting: CacheSection, size: int) -> None:
    """Refuses a cache that would not fit `teachers.cache.budget`, before anything is computed."""
    if setting.budget is None:
        return
    if size > num_bytes(setting.budget):
        raise InputError(
            f"recipe: teachers.cache needs {gigabytes(size)}, more than its budget of {setting.budget}; "
            "use fewer views, tokens: pooled:GxG or cls, or dtype: int8"
        )
