"""Building a teacher cache: what is missing is announced with its size and time, then made by all processes together.

Of N processes the r-th begins with shards r, r + N, …; then it takes what the others have left, from the end, so that
nobody waits for the slowest. A lock of the operating system keeps two from making the same one (`unic.features`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

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

Report = Callable[[str], None]


def build_cache(
    plan: CachePlan, device: torch.device, rank: int, world_size: int, announce: Report, status: Report
) -> dict[Shard, Features]:
    """Every shard of the plan; what is sound on the disk is only opened.

    Args:
        rank: every rank calls this, none waits for another but for the shard that it is about to finish.
        announce: gets the lines about size and time, before anything is computed.
        status: gets a line of progress now and then.

    Raises:
        InputError: it does not fit on the disk.
    """
    shards = plan.shards()
    features = {shard: found for shard in shards if (found := plan.find(shard)) is not None}
    missing = [shard for shard in shards if shard not in features]
    plan.check_room(missing)
    if rank == 0:
        for line in _forecast(plan, shards, missing, world_size):
            announce(line)
    processes = plan.setting.processes if missing and plan.is_shared() else 1
    first, count = rank * processes, world_size * processes
    with _others(plan, device, range(first + 1, first + processes), count):
        for number, shard in enumerate(_in_turn(missing, first, count), start=1):
            what = f"teacher cache: shard {number} of {len(missing)}, {shard.teacher}, view {shard.view + 1}"
            features[shard] = _make(plan, shard, partial(_progress, status, what))
    return features


def rebuild(plan: CachePlan, device: torch.device, shard: Shard, wanted: Int[Tensor, " b"]) -> Features:
    """A shard of whose `wanted` rows some are damaged or missing; another process may have built it again already."""
    encoder = plan.encoders[shard.teacher].to(device)
    obtain(plan.extraction(shard), plan.folder, wanted=wanted)
    encoder.to("cpu")
    return _make(plan, shard)


def _make(plan: CachePlan, shard: Shard, progress: Callable[[int, int], None] | None = None) -> Features:
    return obtain(plan.extraction(shard, progress), plan.folder, "rows")


def _progress(status: Report, what: str, done: int, total: int) -> None:
    status(f"{what}: {done}/{total} images")


def _in_turn(shards: Sequence[Shard], number: int, count: int) -> list[Shard]:
    own = list(shards[number::count])
    return own + [shard for shard in reversed(shards) if shard not in set(own)]


def _forecast(plan: CachePlan, shards: Sequence[Shard], missing: Sequence[Shard], world_size: int) -> Iterator[str]:
    size, setting = plan.num_bytes(shards), plan.setting
    yield (
        f"teacher cache: {gigabytes(size, 2)} in {plan.folder}, {setting.views} view(s) of {len(plan.images)} images, "
        f"tokens {setting.tokens}, {setting.dtype}, {len(shards)} shards, {len(shards) - len(missing)} of them there"
    )
    if setting.tokens == "cls":
        yield "teacher cache: tokens: cls keeps no patches, so the patch half of the loss is off"
    if missing:
        each = plan.seconds_per_image()
        total = plan.seconds(missing, each)
        # Processes on one CPU share its cores, with which the one measurement was made.
        total /= world_size * setting.processes if torch.cuda.is_available() else 1
        teachers = ", ".join(f"{name} {1000 * seconds:.1f} ms an image" for name, seconds in each.items())
        yield f"teacher cache: {gigabytes(plan.num_bytes(missing), 2)} to build, about {duration(total)} ({teachers})"


@contextmanager
def _others(plan: CachePlan, device: torch.device, numbers: range, count: int) -> Iterator[None]:
    """Further processes of this rank. One that fails is a warning: what it leaves is made here."""
    threads = threads_beside(plan.recipe.data.workers, len(numbers) + 1)
    helpers: list[BaseProcess] = []
    own = torch.get_num_threads()
    try:
        with processes.threads_each(threads):
            for place, number in enumerate(numbers, start=1):
                task = {
                    "recipe": plan.recipe.model_dump(mode="json"), "grids": plan.grids,
                    "fingerprints": plan.fingerprints, "device": _device(device, place), "number": number,
                    "count": count, "trusted": trusted(),
                }  # fmt: skip
                helpers.append(processes.Spawning().Process(target=_work, args=(task,)))
                helpers[-1].start()
        torch.set_num_threads(threads if helpers else own)
        yield
        for helper in helpers:
            helper.join()
            if helper.exitcode:
                log.warning("a process that built the teacher cache ended with %d; its shards were built here",
                            helper.exitcode)  # fmt: skip
    finally:
        torch.set_num_threads(own)
        processes.end(helpers)


def _device(device: torch.device, place: int) -> str:
    """GPUs in turn, beginning with this rank's."""
    if device.type != "cuda":
        return str(device)
    return f"cuda:{((device.index or 0) + place) % torch.cuda.device_count()}"


def _work(task: dict[str, Any]) -> None:
    """What a further process does: the same plan, from the same recipe, on its own device."""
    inherit(task["trusted"])
    recipe, device = Recipe.model_validate(task["recipe"]), torch.device(task["device"])
    encoders = {
        name: open_encoder(uri, device=device, precision=recipe.train.precision)
        for name, uri in recipe.teachers.models.items()
    }
    grids: dict[str, Grid] = {name: (grid[0], grid[1]) for name, grid in task["grids"].items()}
    images = ImageList.from_config(recipe.data.train, recipe.data.max_pixels, recipe.data.holdout)
    plan = CachePlan(recipe, encoders, grids, images)
    if plan.fingerprints != task["fingerprints"]:
        raise InputError("teacher cache: loaded a second time, the teachers have other weights; use processes: 1")
    for shard in _in_turn(plan.missing(), task["number"], task["count"]):
        _make(plan, shard)
