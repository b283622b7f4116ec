"""The time that a run will take, as a range: from the steps of the trial and the time to decode images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, median

from unic.cores import threads_beside, usable_cores
from unic.preflight.rows import Time
from unic.preflight.trial import Trial
from unic.training.job import Job

Choice = Callable[[Sequence[float]], float]


def duration(job: Job, trials: Sequence[Trial], cache_seconds: float | None, price: float | None) -> Time:
    """Facts about the time: hours by the median step, and a range from the fastest step to the slowest.

    The fastest step is taken as on an idle machine (`Trial.alone`). Evaluation, export and saves are not included.

    Args:
        job: the run.
        trials: one for each size of views.
        cache_seconds: time to build the missing part of the teacher cache; None: teachers are live.
        price: price of an hour; None: no price.
    """
    is_cached = cache_seconds is not None

    def hours(choose: Choice, tried: Sequence[Trial] = trials) -> float:
        step = fmean(_step_seconds(job, trial, choose, is_cached=is_cached) for trial in tried)
        return (job.total_steps * step + building(choose, tried)) / 3600

    def building(choose: Choice, tried: Sequence[Trial] = trials) -> float:
        """Seconds to build the cache. It was timed once, so it gets the spread of the teachers' times."""
        usual = fmean(median(trial.teachers) for trial in trials)
        spread = fmean(choose(trial.teachers) for trial in tried) / usual if usual else 1.0
        return (cache_seconds or 0.0) / job.world_size * spread

    images = job.recipe.train.batch_size / job.world_size
    live = job.total_steps * images * fmean(median(trial.teachers) / trial.images for trial in trials)
    seconds = [
        sum(parts) for trial in trials for parts in zip(trial.teachers, trial.student, trial.update, strict=True)
    ]
    usual = hours(median)
    time: Time = {
        "steps": job.total_steps,
        "epochs": None if job.recipe.train.steps else job.recipe.train.epochs,
        "processes": job.world_size,
        "images_per_s": job.recipe.train.batch_size * job.total_steps / (usual * 3600 - building(median)),
        "teachers_h": (building(median) if is_cached else live) / 3600,
        "hours": usual,
        "hours_range": [hours(min, [trial.alone() for trial in trials]), hours(max)],
        "tried": {
            "steps": len(seconds), "images": sorted({trial.images for trial in trials}),
            "seconds": [min(seconds), max(seconds)],
            "waited": sum(sum(trial.waited) for trial in trials) / sum(seconds),
            "threads": threads_beside(job.recipe.data.workers),
        },
    }  # fmt: skip
    if price is not None:
        time["price"] = usual * price
    return time


def _step_seconds(job: Job, trial: Trial, choose: Choice, *, is_cached: bool) -> float:
    """Seconds of a step of one process: its own work, or that of its data workers where they are slower."""
    images, workers = job.recipe.train.batch_size / job.world_size, job.recipe.data.workers
    parts = zip(trial.teachers, trial.student, strict=True)
    passes = choose([student + (0 if is_cached else teachers) for teachers, student in parts]) / trial.images
    work, decoding = images * passes + choose(trial.update), images * trial.decoding
    if not workers:
        return work + decoding
    bounds = [work, decoding / workers]
    if job.device.type == "cpu":  # both share the cores
        bounds.append((work * threads_beside(workers) + decoding) / usable_cores())
    return max(bounds)
