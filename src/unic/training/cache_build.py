"""Builds a teacher cache: announces size and time of what is missing, then all processes build it together.

Process r of N begins with shards r, r + N, …. Then it takes what the others have left, from the end, so that no process
waits for the slowest. A lock of the operating system keeps two processes from building the same shard
(`unic.features`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from unic import processes
from unic.cores import threads_beside
from unic.data.image_list import ImageList
from unic.encoders import open_encoder
from unic.errors import InputError
from unic.features import Features, obtain
from unic.quantities import duration, gigabytes
from unic.recipe.schema import Recipe
from unic.tokens import Grid
from unic.training.cache_plan import CachePlan, Shard
from unic.trust import inherit, trusted

log = logging.getLogger("unic")

ShowLine = Callable[[str], None]


class ShardWork(NamedTuple):
    """The work of a further process, in plain values: the process trusts no code before it has read them.

    Attributes:
        recipe: as JSON values.
        grids: the teachers' own patch grids.
        fingerprints: of the teachers.
        device: device of the teachers.
        worker: number of the process, from 0.
        num_workers: number of processes of all ranks.
        trusted: what it trusts.
    """

    recipe: dict[str, Any]
    grids: dict[str, Grid]
    fingerprints: dict[str, str]
    device: str
    worker: int
    num_workers: int
    trusted: list[str]


def build_cache(
    plan: CachePlan, device: torch.device, rank: int, world_size: int, announce: ShowLine, status: ShowLine
) -> dict[Shard, Features]:
    """Opens every shard of the plan, and builds those that are missing or damaged.

    Args:
        plan: plan of the cache.
        device: device of the teachers.
        rank: rank of this process. Every rank calls this; it waits for another one only if that one builds the
            last shard.
        world_size: number of ranks.
        announce: called with the lines about size and time, before anything is computed.
        status: called with a line of progress now and then.

    Raises:
        FullDiskError: the cache does not fit on the disk.
    """
    shards = plan.shards()
    features = {shard: found for shard in shards if (found := plan.find(shard)) is not None}
    missing = [shard for shard in shards if shard not in features]
    plan.check_room(missing)
    if rank == 0:
        for line in _forecast(plan, shards, missing, world_size):
            announce(line)
    per_rank = plan.setting.processes if missing and plan.is_shared() else 1
    first, count = rank * per_rank, world_size * per_rank
    with _others(plan, device, range(first + 1, first + per_rank), count):
        for done, shard in enumerate(_in_turn(missing, first, count)):
            what = f"teacher cache: shard {done + 1} of {len(missing)}, {shard.teacher}, view {shard.view + 1}"
            features[shard] = _make(plan, shard, partial(_progress, status, what))
    return features


def rebuild(plan: CachePlan, device: torch.device, shard: Shard, wanted: Int[Tensor, " b"]) -> Features:
    """Builds a shard again, some of whose `wanted` rows are damaged or missing, unless another process has done so."""
    encoder = plan.encoders[shard.teacher].to(device)
    obtain(plan.extraction(shard), plan.folder, wanted=wanted)
    encoder.to("cpu")
    return _make(plan, shard)


def _make(plan: CachePlan, shard: Shard, progress: Callable[[int, int], None] | None = None) -> Features:
    return obtain(plan.extraction(shard, progress), plan.folder, "rows")


def _progress(status: ShowLine, what: str, done: int, total: int) -> None:
    status(f"{what}: {done}/{total} images")


def _in_turn(shards: Sequence[Shard], worker: int, count: int) -> list[Shard]:
    own = list(shards[worker::count])
    return own + [shard for shard in reversed(shards) if shard not in set(own)]


def _forecast(plan: CachePlan, shards: Sequence[Shard], missing: Sequence[Shard], world_size: int) -> Iterator[str]:
    size, setting = plan.num_bytes(shards), plan.setting
    yield (
        f"teacher cache: {gigabytes(size, 2)} in {plan.folder}, {setting.views} view(s) of {len(plan.images)} images, "
        f"tokens {setting.tokens}, {setting.dtype}, {len(shards)} shards, {len(shards) - len(missing)} of them built"
    )
    if setting.tokens == "cls":
        yield "teacher cache: 'tokens: cls' stores no patches, so the loss compares CLS alone"
    if missing:
        each = plan.seconds_per_image()
        total = plan.seconds(missing, each)
        # Processes on one CPU share its cores, all of which were used for the measurement.
        total /= world_size * setting.processes if torch.cuda.is_available() else 1
        teachers = ", ".join(f"{name} {1000 * seconds:.1f} ms an image" for name, seconds in each.items())
        yield f"teacher cache: {gigabytes(plan.num_bytes(missing), 2)} to build, about {duration(total)} ({teachers})"


@contextmanager
def _others(plan: CachePlan, device: torch.device, workers: range, count: int) -> Iterator[None]:
    """Runs further processes of this rank beside the block. If one fails, its shards are built in this process."""
    threads = threads_beside(plan.recipe.data.workers, len(workers) + 1)
    helpers: list[BaseProcess] = []
    own = torch.get_num_threads()
    try:
        with processes.threads_each(threads):
            for offset, worker in enumerate(workers, start=1):
                work = ShardWork(
                    plan.recipe.model_dump(mode="json"), plan.grids, plan.fingerprints, _device(device, offset),
                    worker, count, trusted(),
                )  # fmt: skip
                helpers.append(processes.Spawning().Process(target=build_shards, args=(work,)))
                helpers[-1].start()
        torch.set_num_threads(threads if helpers else own)
        yield
        for helper in helpers:
            helper.join()
            if helper.exitcode:
                log.warning("teacher cache: a worker process ended with exit code %d; the main process built its "
                            "shards", helper.exitcode)  # fmt: skip
    finally:
        torch.set_num_threads(own)
        processes.end(helpers)


def _device(device: torch.device, offset: int) -> str:
    """The GPU `offset` places after this rank's; on a CPU the same device."""
    if device.type != "cuda":
        return str(device)
    return f"cuda:{((device.index or 0) + offset) % torch.cuda.device_count()}"


def build_shards(work: ShardWork) -> None:
    """Builds shards in a further process, from the same recipe and plan, on its own device."""
    inherit(work.trusted)
    recipe, device = Recipe.model_validate(work.recipe), torch.device(work.device)
    encoders = {
        name: open_encoder(uri, device=device, precision=recipe.train.precision)
        for name, uri in recipe.teachers.uris.items()
    }
    images = ImageList.from_config(recipe.data.train, recipe.data.max_pixels, recipe.data.holdout)
    plan = CachePlan(recipe, encoders, work.grids, images)
    if plan.fingerprints != work.fingerprints:
        raise InputError(
            "teacher cache: a worker loaded different teacher weights (random initialisation?); set "
            "teachers.cache.processes=1"
        )
    for shard in _in_turn(plan.missing(), work.worker, work.num_workers):
        _make(plan, shard)
