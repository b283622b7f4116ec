"""The cost of a run: memory at its batch size and the largest batch that fits, time (`duration`), price, disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from unic.arguments import argument
from unic.errors import InputError, StoppedError
from unic.outputs import check_writable
from unic.preflight.duration import duration
from unic.preflight.findings import Report
from unic.preflight.rows import Disk, Ladder, Memory
from unic.preflight.trial import Trial
from unic.quantities import gigabytes
from unic.training.advice import checkpoint_bytes
from unic.training.cache_plan import CachePlan
from unic.training.job import Job
from unic.training.memory import largest_batch, model_bytes, room, what_fits


def count_ladder(job: Job) -> Ladder:
    parameters = sum(p.numel() for p in job.distiller.projectors.parameters())
    return {"type": job.recipe.projector.type, "blocks": len(job.distiller.blocks), "num_parameters": parameters}


def estimate(job: Job, trials: Sequence[Trial], price: float | None, out: Path, report: Report) -> None:
    """Adds memory, time and disk to the facts of the report, and what does not fit to its findings.

    Args:
        job: the run.
        trials: one for each size of views.
        price: price of an hour; None: no price.
        out: the planned run folder.
        report: the report to add to.
    """
    cache = _CacheCost(job) if job.recipe.teachers.cache else None
    report.facts["ladder"] = count_ladder(job)
    report.facts["memory"] = _memory(job, max(trial.saved_bytes for trial in trials), report)
    report.facts["time"] = duration(job, trials, cache.seconds if cache else None, price)
    report.facts["disk"] = _disk(job, cache, out, report)


class _CacheCost:
    """The part of a teacher cache that is still to be built: its folder, its size, and the seconds it takes."""

    def __init__(self, job: Job) -> None:
        plan = CachePlan(job.recipe, job.encoders, job.grids, job.images)
        missing = plan.missing()
        self.folder, self.missing_bytes = plan.folder, plan.num_bytes(missing)
        seconds = plan.seconds(missing, plan.seconds_per_image()) if missing else 0.0
        self.seconds = seconds / (plan.setting.processes if job.device.type == "cuda" else 1)


def _memory(job: Job, each: float, report: Report) -> Memory:
    """Facts about the memory; adds an error where the models, or a batch, do not fit.

    Args:
        job: the run.
        each: bytes that a forward pass keeps for one image.
        report: the report to add to.
    """
    batch = job.images_at_a_time
    fixed, available = model_bytes(job), room(job)
    largest = largest_batch(job, each, available)
    if largest < 1:
        text = f"the models alone need {gigabytes(fixed)}, {gigabytes(available)} are available"
        report.add("error", "memory", f"{text}; choose smaller models, or a projector with fewer blocks")
    elif batch > largest:
        needed = fixed + batch * each
        text = f"{batch} images at a time need about {gigabytes(needed)}, {gigabytes(available)} are available"
        report.add("error", "memory", f"{text}; {what_fits(job, largest)}")
    return {
        "models_gb": fixed / 1e9, "batch_gb": batch * each / 1e9, "at_a_time": batch,
        "available_gb": available / 1e9, "largest_batch": max(largest, 0),
    }  # fmt: skip


def _disk(job: Job, cache: _CacheCost | None, out: Path, report: Report) -> Disk:
    _, checkpoints = checkpoint_bytes(job)
    try:
        check_writable(out, named=argument("out"), kind="folder")
    except (InputError, StoppedError) as error:
        report.add("error", "out", str(error))
    needs = [("checkpoints", checkpoints, out)]
    if cache is not None:
        needs.append(("teachers.cache", cache.missing_bytes, cache.folder))
    for what, needed, place in needs:
        free = shutil.disk_usage(_existing(place)).free
        if needed > free:
            report.add("error", what, f"{gigabytes(needed)} needed in {place}, {gigabytes(free)} free")
    missing = cache.missing_bytes if cache else 0
    return {
        "checkpoints_gb": checkpoints / 1e9, "cache_gb": job.cache_bytes() / 1e9, "cache_missing_gb": missing / 1e9,
    }  # fmt: skip


def _existing(place: Path) -> Path:
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place
