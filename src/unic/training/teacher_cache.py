"""Targets from the cache: rows of the shards for the images and views of a batch, checked as they are read."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from unic.data.batch import Batch
from unic.errors import InputError
from unic.features import DamagedRowsError, Features
from unic.features.patches import restore
from unic.tokens import Grid, Tokens, without_patches
from unic.training.cache_build import build_cache, rebuild
from unic.training.cache_plan import CachePlan, Shard, cached_grid
from unic.training.job import Job
from unic.training.teachers import only

log = logging.getLogger("unic")

StoredRows = dict[str, dict[str, Tensor]]  # rows of a batch, by teacher and array


def open_cache(
    job: Job, rank: int, world_size: int, announce: Callable[[str], None], status: Callable[[str], None]
) -> CachedTeachers:
    """Opens the cache of a job and builds what is missing; see `build_cache`. Then the teachers go to the CPU."""
    plan = CachePlan(job.recipe, job.encoders, job.grids, job.images)
    features = build_cache(plan, job.device, rank, world_size, announce, status)
    for encoder in job.encoders.values():
        encoder.to("cpu")  # to leave the GPU's memory to the student
    return CachedTeachers(plan, features, partial(rebuild, plan, job.device), job.grid, job.device)


class CachedTeachers:
    """Reads targets that were computed once for some augmented views of each image.

    Args:
        plan: plan of the cache.
        features: the shards of the plan.
        rebuild: builds a shard again if rows of it are damaged or missing.
        grid: the student's.
        device: that the tokens are moved to.
    """

    def __init__(
        self,
        plan: CachePlan,
        features: Mapping[Shard, Features],
        rebuild: Callable[[Shard, Tensor], Features],
        grid: Grid,
        device: torch.device,
    ) -> None:
        self.plan, self.features, self.rebuild = plan, dict(features), rebuild
        self.grid, self.device = grid, device
        self._starts = {name: [part.start for part in parts] for name, parts in plan.stretches.items()}
        self._stored_grids = {name: cached_grid(plan.recipe.teachers, name, own) for name, own in plan.grids.items()}
        self._ahead: deque[tuple[Tensor, Future[StoredRows]]] = deque()

    def __call__(self, images: Tensor, index: Tensor, view: Tensor, crops: Tensor | None = None) -> dict[str, Tokens]:
        if self._ahead and self._ahead[0][0] is index:
            rows = self._ahead.popleft()[1].result()
        else:
            rows = self._read(index, view)
        return {name: self._tokens(name, values) for name, values in rows.items()}

    def ahead(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, each held back until a thread has begun to read the targets of the next."""
        with ThreadPoolExecutor(1, "teacher-cache") as thread:
            held: deque[Batch] = deque()
            for batch in batches:
                self._ahead.append((batch.index, thread.submit(self._read, batch.index, batch.view)))
                held.append(batch)
                if len(held) > 1:
                    yield held.popleft()
            yield from held

    def _read(self, index: Tensor, view: Tensor) -> StoredRows:
        return {name: self._rows(name, index.cpu().numpy(), view.cpu().numpy()) for name in self.plan.stretches}

    def _rows(self, name: str, index: np.ndarray, view: np.ndarray) -> dict[str, Tensor]:
        """The rows in the order of the batch, gathered shard by shard."""
        stretch = np.searchsorted(self._starts[name], index, side="right") - 1
        order = np.lexsort((stretch, view))
        bounds = np.flatnonzero(np.diff(stretch[order]) | np.diff(view[order])) + 1
        out: dict[str, np.ndarray] = {}
        for places in np.split(order, bounds):
            shard = Shard(name, int(view[places[0]]), int(stretch[places[0]]))
            for kind, values in self._take(shard, index[places]).items():
                if kind not in out:
                    out[kind] = np.empty((len(index), *values.shape[1:]), values.dtype)
                out[kind][places] = values
        rows = {kind: torch.from_numpy(values) for kind, values in out.items()}
        return {kind: values.pin_memory() for kind, values in rows.items()} if self.device.type == "cuda" else rows

    def _take(self, shard: Shard, index: np.ndarray) -> dict[str, np.ndarray]:
        local = torch.from_numpy(index - self.plan.stretch(shard).offset)
        try:
            return self.features[shard].take(local)
        except DamagedRowsError as error:
            reason = f"damaged {error}"
        except KeyError:  # an image could not be read when the shard was built
            reason = "missing images"
        log.warning("teacher cache: %s in a shard of %s (%s); it is built again", reason, shard.teacher,
                    self.plan.extraction(shard).key)  # fmt: skip
        self.features[shard] = self.rebuild(shard, local)
        try:
            return self.features[shard].take(local)
        except (DamagedRowsError, KeyError):
            where = f"{self.plan.folder}: {reason} in a shard of {shard.teacher}"
            raise InputError(f"teacher cache {where}, even after it was built again") from None

    def _tokens(self, name: str, rows: dict[str, Tensor]) -> Tokens:
        rows = {kind: values.to(self.device, non_blocking=True) for kind, values in rows.items()}
        grid = self._stored_grids[name]
        if grid is None:
            return without_patches(rows["cls"])
        tokens = Tokens(rows["cls"], restore(rows["patches"], rows.get("ranges")), grid)
        return only(tokens, self.plan.recipe.teachers.matched(name)).to_grid(self.grid)
