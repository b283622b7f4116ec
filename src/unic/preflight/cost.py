"""What a run will cost: memory at this batch size and the largest that fits, time, money, disk."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unic.distill.build import Job
from unic.distill.memory import SavedBytes, available_bytes, largest_batch, model_bytes, parts_that_fit
from unic.features import default_cache_dir
from unic.preflight.findings import Report


def count_ladder(job: Job) -> dict[str, Any]:
    parameters = sum(p.numel() for p in job.distiller.projectors.parameters())
    return {"type": job.recipe.projector.type, "blocks": len(job.distiller.blocks), "num_parameters": parameters}


def measure_step(job: Job, images: Tensor, index: Tensor, epoch: Tensor) -> dict[str, float]:
    """Seconds and saved bytes of a forward and backward pass on a real batch; the second of two counts."""
    teachers = job.live_teachers()
    job.distiller.train()
    times, saved = {}, SavedBytes()
    for _ in range(2):
        saved.total = 0
        started = time.perf_counter()
        targets = job.standardizer.eval()(teachers(images, index, epoch))
        _wait(images)
        middle = time.perf_counter()
        with saved:
            losses = job.distiller(images, targets, 1, index).losses
            total = job.weighting.sums(losses, job.weighting.coefficients(losses, 1, index))[0]
        total.backward()
        job.optimizer.zero_grad(set_to_none=True)
        _wait(images)
        times = {"teachers_s": middle - started, "student_s": time.perf_counter() - middle}
    return {**times, "saved_bytes_per_image": saved.total / len(images)}


def mean_step(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of steps of several sizes, the mean time and the most memory."""
    mean = {key: sum(step[key] for step in steps) / len(steps) for key in ("teachers_s", "student_s")}
    return {**mean, "saved_bytes_per_image": max(step["saved_bytes_per_image"] for step in steps)}


def estimate(job: Job, step: dict[str, float], num_images: int, price: float | None, out: Path, report: Report) -> None:
    """Adds memory, time and disk to the report, and what would not fit to its findings."""
    report.facts["ladder"] = count_ladder(job)
    report.facts["memory"] = _memory(job, step, report)
    report.facts["time"] = _time(job, step, num_images, price)
    report.facts["disk"] = _disk(job, out, report)


def _memory(job: Job, step: dict[str, float], report: Report) -> dict[str, Any]:
    batch = math.ceil(job.recipe.train.batch_size / job.recipe.train.micro_batches)
    fixed, each = model_bytes(job), step["saved_bytes_per_image"]
    available = available_bytes(job.device)
    largest = largest_batch(job, each, available)
    if largest < 1:
        text = f"the models alone need {fixed / 1e9:.1f} GB, {available / 1e9:.1f} GB are free"
        report.add("error", "memory", f"{text}; choose smaller models, or a projector with fewer blocks")
    elif batch > largest:
        text = (
            f"a batch of {batch} needs about {(fixed + batch * each) / 1e9:.1f} GB, {available / 1e9:.1f} GB are free"
        )
        parts = parts_that_fit(batch, largest)
        report.add(
            "error", "memory", f"{text}; train.micro_batches={parts * job.recipe.train.micro_batches} makes it fit"
        )
    return {
        "models_gb": fixed / 1e9, "batch_gb": batch * each / 1e9, "at_a_time": batch,
        "available_gb": available / 1e9, "largest_batch": max(largest, 0),
    }  # fmt: skip


def _time(job: Job, step: dict[str, float], num_images: int, price: float | None) -> dict[str, Any]:
    total = job.total_steps * job.recipe.train.batch_size
    student = total * step["student_s"] / num_images
    cache = job.recipe.teachers.cache
    frozen = len(job.images) * cache.views if cache else total  # with a cache the teachers see each view once
    teachers = frozen * step["teachers_s"] / num_images
    hours = (student + teachers) / 3600
    cost = {} if price is None else {"price": hours * price}
    return {
        "steps": job.total_steps, "images_per_s": num_images / (step["student_s"] + step["teachers_s"]),
        "teachers_h": teachers / 3600, "hours": hours, **cost,
    }  # fmt: skip


def _disk(job: Job, out: Path, report: Report) -> dict[str, Any]:
    trained = sum(p.numel() for p in job.distiller.parameters())
    one = trained * 12  # weights and the two moments, float32
    setting = job.recipe.checkpoint
    checkpoints = one * (setting.keep + (setting.best is not None) + 1)  # one more while it is written
    stored = job.recipe.teachers.cache
    cache, folder = job.cache_bytes(), Path(stored.dir) if stored and stored.dir else default_cache_dir()
    for what, needed, place in (("checkpoints", checkpoints, out), ("teachers.cache", cache, folder)):
        free = shutil.disk_usage(_existing(place)).free
        if needed > free:
            report.add("error", what, f"{needed / 1e9:.1f} GB needed in {place}, {free / 1e9:.1f} GB free")
    return {"checkpoints_gb": checkpoints / 1e9, "cache_gb": cache / 1e9}


def _existing(place: Path) -> Path:
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place


def _wait(images: Tensor) -> None:
    if images.device.type == "cuda":
        torch.cuda.synchronize()
