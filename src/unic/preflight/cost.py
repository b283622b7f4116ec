"""What a run will cost: memory at this batch size and the largest that fits, time, money, disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unic.arguments import argument
from unic.cores import beside
from unic.data.loader import Batch
from unic.distill.advice import checkpoint_bytes
from unic.distill.cache_plan import CachePlan
from unic.distill.job import Job
from unic.distill.memory import SavedBytes, largest_batch, model_bytes, room, what_fits
from unic.distill.teachers import Outputs
from unic.errors import InputError, StoppedError
from unic.outputs import check_writable
from unic.preflight.findings import Report
from unic.tokens import Tokens


def count_ladder(job: Job) -> dict[str, Any]:
    parameters = sum(p.numel() for p in job.distiller.projectors.parameters())
    return {"type": job.recipe.projector.type, "blocks": len(job.distiller.blocks), "num_parameters": parameters}


def measure_step(job: Job, batch: Batch) -> dict[str, float]:
    """Seconds and saved bytes of an image in a forward and backward pass; the second of two counts."""
    teachers = _Timed(job.live_teachers(), job.device)
    job.distiller.train()
    job.standardizer.eval()
    seconds, saved = 0.0, SavedBytes()
    with beside(job.recipe.data.workers):
        for _ in range(2):
            saved.total, teachers.seconds = 0, 0.0
            started = _now(job.device)
            with saved:
                forward = job.forward(teachers, batch, step=1)
            job.weighting.sums(forward.losses, forward.weights)[0].backward()
            job.optimizer.zero_grad(set_to_none=True)
            seconds = _now(job.device) - started
    found = {"teachers_s": teachers.seconds, "student_s": seconds - teachers.seconds, "saved_bytes": saved.total}
    return {name: value / len(batch) for name, value in found.items()}


class _Timed:
    """Teachers, and how long they took."""

    def __init__(self, teachers: Outputs, device: torch.device) -> None:
        self.teachers, self.device, self.seconds = teachers, device, 0.0

    def __call__(self, images: Tensor, index: Tensor, view: Tensor) -> dict[str, Tokens]:
        started = _now(self.device)
        outputs = self.teachers(images, index, view)
        self.seconds += _now(self.device) - started
        return outputs


def _now(device: torch.device) -> float:
    """Seconds, when everything asked of the device so far is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def mean_step(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of steps of several sizes, the mean time and the most memory."""
    mean = {key: sum(step[key] for step in steps) / len(steps) for key in ("teachers_s", "student_s")}
    return {**mean, "saved_bytes": max(step["saved_bytes"] for step in steps)}


def estimate(job: Job, step: dict[str, float], price: float | None, out: Path, report: Report) -> None:
    """Adds memory, time and disk to the report, and what would not fit to its findings."""
    cache = _Cache(job) if job.recipe.teachers.cache else None
    report.facts["ladder"] = count_ladder(job)
    report.facts["memory"] = _memory(job, step, report)
    report.facts["time"] = _time(job, step, cache, price)
    report.facts["disk"] = _disk(job, cache, out, report)


class _Cache:
    """Of a teacher cache what is still to be built, and where."""

    def __init__(self, job: Job) -> None:
        plan = CachePlan(job.recipe, job.encoders, job.grids, job.images)
        missing = plan.missing()
        self.folder, self.missing_bytes = plan.folder, plan.num_bytes(missing)
        seconds = plan.seconds(missing, plan.seconds_per_image()) if missing else 0.0
        self.seconds = seconds / (plan.setting.processes if job.device.type == "cuda" else 1)


def _memory(job: Job, step: dict[str, float], report: Report) -> dict[str, Any]:
    batch = job.images_at_a_time
    fixed, each, available = model_bytes(job), step["saved_bytes"], room(job)
    largest = largest_batch(job, each, available)
    if largest < 1:
        text = f"the models alone need {fixed / 1e9:.1f} GB, there are {available / 1e9:.1f} GB"
        report.add("error", "memory", f"{text}; choose smaller models, or a projector with fewer blocks")
    elif batch > largest:
        needed = (fixed + batch * each) / 1e9
        text = f"{batch} images at a time need about {needed:.1f} GB, there are {available / 1e9:.1f} GB"
        report.add("error", "memory", f"{text}; {what_fits(job, largest)}")
    return {
        "models_gb": fixed / 1e9, "batch_gb": batch * each / 1e9, "at_a_time": batch,
        "available_gb": available / 1e9, "largest_batch": max(largest, 0),
    }  # fmt: skip


def _time(job: Job, step: dict[str, float], cache: _Cache | None, price: float | None) -> dict[str, Any]:
    seen = job.total_steps * job.recipe.train.batch_size
    student = seen * step["student_s"] / job.world_size
    live = seen * step["teachers_s"]
    teachers = (live if cache is None else cache.seconds) / job.world_size
    hours = (student + teachers) / 3600
    cost = {} if price is None else {"price": hours * price}
    return {
        "steps": job.total_steps, "processes": job.world_size,
        "images_per_s": job.world_size / (step["student_s"] + step["teachers_s"]),
        "teachers_h": teachers / 3600, "hours": hours, **cost,
    }  # fmt: skip


def _disk(job: Job, cache: _Cache | None, out: Path, report: Report) -> dict[str, Any]:
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
            report.add("error", what, f"{needed / 1e9:.1f} GB needed in {place}, {free / 1e9:.1f} GB free")
    missing = cache.missing_bytes if cache else 0
    return {
        "checkpoints_gb": checkpoints / 1e9, "cache_gb": job.cache_bytes() / 1e9, "cache_missing_gb": missing / 1e9,
    }  # fmt: skip


def _existing(place: Path) -> Path:
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place
