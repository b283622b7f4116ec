"""The run folder: when it may be used, what is written into it at the start, and what makes two runs the same."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from unic._regular_files import read_json
from unic.arguments import argument
from unic.checkpoint import write_atomically
from unic.config import Recipe, leaves
from unic.cores import threads_beside
from unic.distill import lock, places
from unic.distill.advice import advice
from unic.distill.batch_norms import SINGLE_IMAGES, batch_norms, sees_single_images
from unic.distill.job import Job
from unic.distill.resolutions import enlargement
from unic.errors import InputError

# What a resumed run may change without training something else (with other micro-batches batch norms see other parts).
FREE_TO_CHANGE = (
    "base",
    "checkpoint",
    "eval",
    "train.interpolate",
    "train.interpolate_norms",
    "train.log_every",
    "train.engine",
    "teachers.shard",
    "train.max_skipped",
    "train.micro_batches",
    "train.timeout",
    "data.workers",
    "data.timeout",
    "data.max_damaged",
    "data.validation",
    "teachers.cache.dir",
    "teachers.cache.budget",
    "teachers.cache.processes",
    "trackers",
)


_PRINTS = 2  # what fingerprints of teachers cover; before it was said: too little of code and of external weights

log = logging.getLogger("unic")


def check_free(folder: Path, resume: bool) -> None:
    """Refuses a folder that holds anything but a lock, unless it is to be resumed."""
    if not resume and folder.is_dir() and any(path.name != lock.NAME for path in folder.iterdir()):
        raise InputError(
            f"{argument('out')} {folder}: the folder is not empty; continue that run with {argument('resume', True)}, "
            "or name another folder"
        )


def start(folder: Path, recipe: Recipe, accelerator: Accelerator) -> None:
    """Writes the resolved recipe and the environment. The time of the start stays that of the first attempt."""
    import timm

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "recipe.yaml", recipe.to_yaml())
    environment = {
        "unic": version("unic-distill"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "device": torch.cuda.get_device_name() if accelerator.device.type == "cuda" else str(accelerator.device),
        "cpu": platform.processor() or platform.machine(),
        "threads": threads_beside(recipe.data.workers),
        "processes": accelerator.num_processes,
        "started": _started(folder) or time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    write_atomically(folder / "environment.json", json.dumps(environment, indent=2))


def _started(folder: Path) -> str:
    """When the run was started, if it has been: a resume and a later stage write the environment again."""
    try:
        return str(read_json(folder / "environment.json")["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def identity(job: Job, recipe: Recipe) -> dict[str, Any]:
    """What must be the same for a checkpoint to be continued: the recipe, the teachers' and the images' content."""
    return {
        "recipe": recipe.model_dump(mode="json"),
        "teachers": {name: encoder.fingerprint() for name, encoder in job.encoders.items()},
        "prints": _PRINTS,
        "images": job.images.fingerprint(),
        "listing": job.images.portable_fingerprint(),
    }


class Identity:
    """What must be the same for a checkpoint to be continued, as a part of it.

    Args:
        now: see `identity`.

    Attributes:
        moved: a line for each place of files that has changed since the checkpoint.
    """

    def __init__(self, now: dict[str, Any]) -> None:
        self._now = now
        self.moved: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        return self._now

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Refuses a checkpoint of something else; see `check_same`."""
        self.moved = check_same(state, self._now)


def check_same(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Refuses to continue a run with something else; names the first difference.

    Files may have moved, for what they hold is compared: of teachers the weights, of images their number, names and
    sizes.

    Returns:
        A line for each place that has changed.
    """
    if list(saved["teachers"]) != list(now["teachers"]):
        names = [", ".join(side["teachers"]) for side in (saved, now)]
        raise InputError(
            f"{argument('resume')}: the run was started with the teachers {names[0]}, the recipe names {names[1]}"
        )
    was = check_recipe(saved["recipe"], now["recipe"], argument("resume"))
    for name, fingerprint in saved["teachers"].items():
        if fingerprint == now["teachers"][name]:
            continue
        uri = now["recipe"]["teachers"]["models"][name]
        if "prints" not in saved and ("trust_remote_code=true" in uri or uri.startswith(("onnx:", "py:"))):
            log.warning(
                "teacher %s: an earlier version started this run and told such teachers apart by less, so that this is "
                "the same one is not checked", name,
            )  # fmt: skip
            continue
        raise InputError(
            f"{argument('resume')}: teacher '{name}' has other weights, preprocessing or code than at the start of "
            "the run"
        )
    moves = places.moves(was, now["recipe"])
    by = "listing" if "listing" in saved else "images"
    if saved[by] != now[by]:
        hint = f"; {moves[0]}" if moves else ""
        raise InputError(f"{argument('resume')}: the training images differ from those at the start of the run{hint}")
    return [f"moved: {line}" for line in moves]


def check_recipe(saved: Mapping[str, Any], now: Mapping[str, Any], named: str) -> dict[str, Any]:
    """Refuses to go on with a recipe that trains something else, and names the first key that differs.

    Args:
        saved, now: recipes as trees; where files lie may differ.
        named: begins the error line.

    Returns:
        The saved one with all the keys of today.
    """
    # Validated again: keys that unic has learnt since stand at their defaults.
    was = Recipe.model_validate(saved).model_dump(mode="json")
    old, new = leaves(places.without_places(was)), leaves(places.without_places(now))
    for key in sorted(old.keys() | new.keys()):
        free = any(key == name or key.startswith(f"{name}.") for name in FREE_TO_CHANGE)
        if not free and old.get(key) != new.get(key):
            raise InputError(
                f"{named}: '{key}' was {leaves(was).get(key)!r} at the start of the run and is "
                f"{leaves(now).get(key)!r} now; "
                "repeat the key=value of the start, or resume with the run's own recipe.yaml"
            )
    return was


def summary(job: Job, before: Sequence[Recipe] = ()) -> list[str]:
    """Plain lines that say what was built for a run, or for the stage that follows those of `before`."""
    lines = [
        f"teacher {name}: {encoder.uri} ({encoder.num_parameters() / 1e6:.1f} M, input {_size(encoder.input_size)}, "
        f"{encoder.embed_dim}/{encoder.patch_dim}-d, grid {_size(job.grids[name])}, {encoder.precision}"
        f"{'' if encoder.has_cls else ', no CLS: pooled'})"
        for name, encoder in job.encoders.items()
    ]
    student, projectors = job.student, job.distiller.projectors
    ladder = sum(parameter.numel() for parameter in projectors.parameters())
    lines.append(
        f"student: {student.uri} ({student.num_parameters() / 1e6:.1f} M, input {_size(student.input_size)}, "
        f"{student.embed_dim}/{student.patch_dim}-d, grid {_size(job.own_grid)}, {student.precision})"
    )
    if size := job.distiller.size:
        lines.append(f"student: it sees {_size(size)} while it trains, grid {_size(job.grid)}")
    if sees_single_images(job.recipe.train, job.world_size) and batch_norms(student):
        lines.append(f"student: {SINGLE_IMAGES}")
    times = f"{ladder / 1e6:.1f} M, {ladder / student.num_parameters():.1f} x the student"
    lines.append(f"projectors: {job.recipe.projector.type} on blocks {job.distiller.blocks} ({times})")
    lines.append(
        f"images: {len(job.images)}; {job.total_steps} steps of {job.recipe.train.batch_size} "
        f"({job.steps_per_epoch} an epoch, {job.total_steps / job.steps_per_epoch:.3g} epochs)"
    )
    lines.append(f"device: {_device(job)}")
    if job.recipe.data.sizes:
        lines.append(f"sizes: {job.resolutions.describe()}")
    else:
        lines += _enlargements(job)
    lines += [f"warning: {section}: {text}" for section, text in advice(job, before)]
    if job.recipe.teachers.cache:
        lines.append(f"teacher cache: {job.cache_bytes() / 1e9:.2f} GB, {job.recipe.teachers.cache.views} view(s)")
    return lines


def _enlargements(job: Job) -> Iterator[str]:
    teachers = {f"teacher {name}": encoder for name, encoder in job.encoders.items()}
    for name, encoder in {"student": job.student, **teachers}.items():
        text = enlargement(job.recipe.data.size, encoder.input_size, is_student=encoder is job.student)
        if text:
            yield f"warning: {name}: {text}"


def _device(job: Job) -> str:
    threads = torch.get_num_threads()
    cpu = f"cpu, {threads} thread{'s' if threads > 1 else ''}"
    name = cpu if job.device.type == "cpu" else torch.cuda.get_device_name(job.device)
    return f"{name}, in {job.world_size} processes" if job.world_size > 1 else name


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
