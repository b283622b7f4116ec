"""The plan of a teacher cache: one shard per teacher, view and stretch of the images; its size, budget and build time.

A shard is an entry of the feature cache (`unic.features`): named by a hash of the teacher, the images, the view and the
stretch, with checksums of its own. So each shard is found, resumed, checked and built again without the others.
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
from unic.recipe.teachers import CacheSection, TeachersSection
from unic.tokens import Grid

_SHARD_BYTES = 1 << 30  # most bytes of a shard
_SHARD_IMAGES = 16384  # most images of a shard, all of which are built again if a byte of it is damaged
_BATCH = 64
_TIMED = 16  # images that the build time is measured on


class Stretch(NamedTuple):
    """Consecutive images: `span` of a source (None: all of it).

    `start` is the index of the first one in the whole list, `offset` the index there of the source's image 0.
    """

    source: Source
    span: tuple[int, int] | None
    start: int
    offset: int
    num_images: int


class Shard(NamedTuple):
    """One entry of the cache; `stretch` is an index into the stretches of its teacher."""

    teacher: str
    view: int
    stretch: int


class CachePlan:
    """The shards of a recipe's cache.

    Args:
        recipe: one with `teachers.cache`.
        encoders: the teachers.
        grids: their own patch grids.
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
        # Random views are keyed by the index in the whole list, so the list is one source. Without augmentation each
        # source is one: if it fits into a shard, an evaluation on the same images finds that entry.
        is_random = preset(recipe.data.augment).is_random or self.mix is not None
        sources: Sequence[Source] = [images] if is_random else images.sources
        self.stretches = {name: _cut(sources, self._images_per_shard(name)) for name in encoders}
        self.fingerprints = {name: encoder.fingerprint() for name, encoder in encoders.items()}
        self._fingerprint_of = {id(source): source.fingerprint() for source in sources}

    def shards(self) -> list[Shard]:
        return [
            Shard(name, view, stretch)
            for name, stretches in self.stretches.items()
            for view in range(self.setting.views)
            for stretch in range(len(stretches))
        ]

    def stretch(self, shard: Shard) -> Stretch:
        return self.stretches[shard.teacher][shard.stretch]

    def extraction(self, shard: Shard, progress: Callable[[int, int], None] | None = None) -> Extraction:
        """The extraction that computes a shard."""
        name, data, teachers = shard.teacher, self.recipe.data, self.recipe.teachers
        source, span, *_ = self.stretch(shard)
        return Extraction(
            self.encoders[name], source, data.size, data.augment, self.recipe.seed, shard.view,
            patch_grid=cached_grid(teachers, name, self.grids[name]), batch_size=_BATCH, workers=data.workers,
            dtype=self.setting.dtype, progress=progress, span=span,
            known=(self.fingerprints[name], self._fingerprint_of[id(source)]), mix=self.mix,
            plain=teachers.models[name].views == "plain",
        )  # fmt: skip

    def find(self, shard: Shard) -> Features | None:
        return find(self.extraction(shard), self.folder, "rows")

    def is_shared(self) -> bool:
        """Whether one process finds the shards that another one writes."""
        return can_write(self.folder) and not any(encoder.unidentified() for encoder in self.encoders.values())

    def missing(self) -> list[Shard]:
        """Shards that are not on the disk, or are damaged."""
        return [shard for shard in self.shards() if self.find(shard) is None]

    def num_bytes(self, shards: Sequence[Shard]) -> int:
        each = {name: self._image_bytes(name) for name in self.encoders}
        return sum(self.stretch(shard).num_images * each[shard.teacher] for shard in shards)

    def check_room(self, missing: Sequence[Shard]) -> None:
        """Refuses a cache that does not fit on the disk, before anything is computed."""
        target = self.folder if can_write(self.folder) else scratch()
        place = next(folder for folder in (target, *target.absolute().parents) if folder.exists())
        needed, free = self.num_bytes(missing), shutil.disk_usage(place).free
        if needed > free:
            raise FullDiskError(
                f"teacher cache {self.folder}: needs {gigabytes(needed)} more, and {gigabytes(free)} are free; set "
                "teachers.cache.dir to another disk, or use fewer views, tokens: pooled:GxG or dtype: int8"
            )

    @torch.no_grad()
    def seconds_per_image(self) -> dict[str, float]:
        """Seconds per view of each teacher, including decoding, measured on a few images."""
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
                for _ in range(2):  # the first pass warms up
                    started = time.perf_counter()
                    encoder(views).cls.cpu()
            forward = (time.perf_counter() - started) / count
            # Workers decode while the teacher computes.
            seconds[name] = max(forward, decoding / data.workers) if data.workers else forward + decoding
        return seconds

    def seconds(self, shards: Sequence[Shard], each: Mapping[str, float]) -> float:
        """Seconds to build shards one after another, given `seconds_per_image`."""
        return sum(self.stretch(shard).num_images * each[shard.teacher] for shard in shards)

    def _images_per_shard(self, name: str) -> int:
        fitting = _SHARD_BYTES // self._image_bytes(name)
        return max(min(fitting, _SHARD_IMAGES) // _BATCH, 1) * _BATCH

    def _image_bytes(self, name: str) -> int:
        return image_bytes(self.recipe.teachers, name, self.encoders[name], self.grids[name])


def _cut(sources: Sequence[Source], most: int) -> list[Stretch]:
    """Cuts sources into stretches of at most `most` images."""
    stretches = []
    offsets = accumulate((len(source) for source in sources), initial=0)
    for source, offset in zip(sources, offsets, strict=False):
        for first in range(0, len(source), most):
            last = min(first + most, len(source))
            span = None if last - first == len(source) else (first, last)
            stretches.append(Stretch(source, span, offset + first, offset, last - first))
    return stretches


def cached_grid(teachers: TeachersSection, name: str, own: Grid) -> Grid | None:
    """The stored grid of a teacher: its own for `all`, `GxG` for `pooled:GxG`, None if it is matched by CLS alone."""
    assert teachers.cache is not None
    if teachers.matched(name) == "cls":
        return None
    match = re.fullmatch(r"pooled:(\d+)x(\d+)", teachers.cache.tokens)
    return (int(match[1]), int(match[2])) if match else own


def image_bytes(teachers: TeachersSection, name: str, encoder: Encoder, own: Grid) -> int:
    """Bytes of one view of an image: patches in `dtype`; what evaluation reads (CLS, mean of patches) in float32.

    Those vectors are there whatever the teacher is matched by: an entry serves evaluation and other recipes as well.
    """
    grid, setting = cached_grid(teachers, name, own), teachers.cache
    assert setting is not None
    vectors = 4 * (encoder.embed_dim + encoder.patch_dim) + 8 * 3  # index of the image, a checksum of each array
    if grid is None:
        return vectors
    ranges = 4 * encoder.patch_dim + 8 if setting.dtype == "int8" else 0
    return vectors + 8 + BYTES[setting.dtype] * grid[0] * grid[1] * encoder.patch_dim + ranges


def cache_bytes(
    teachers: TeachersSection, encoders: Mapping[str, Encoder], grids: Mapping[str, Grid], num_images: int
) -> int:
    """Bytes of the finished cache, without a detailed plan; 0 without a cache."""
    if teachers.cache is None:
        return 0
    per_view = sum(image_bytes(teachers, name, encoder, grids[name]) for name, encoder in encoders.items())
    return per_view * num_images * teachers.cache.views


def check_budget(setting: CacheSection, size: int) -> None:
    """Refuses a cache that would not fit `teachers.cache.budget`, before anything is computed."""
    if setting.budget is None:
        return
    if size > num_bytes(setting.budget):
        raise InputError(
            f"recipe: teachers.cache needs {gigabytes(size)}, more than its budget of {setting.budget}; "
            "use fewer views, tokens: pooled:GxG or cls, or dtype: int8"
        )
