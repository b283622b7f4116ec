"""How often the host waits for the device in a step, and in the reading of a log line.

Several recipes: the paper's, and others with whatever a step can have beside it. On a GPU torch tells
(`torch.cuda.set_sync_debug_mode`); on both devices it is counted on a pretended one (`_pretended_gpu.py`), which also
sees some that torch does not tell of. Only torch sees the backward pass. Counted as well: the graphs that torch.compile
makes of teachers for further batches of the same shape, which should be none.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _part import Answer, main
from _pretended_gpu import DEVICE, PretendedGpu
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from _stage import stage_of  # isort: skip
from soak import make_images  # isort: skip

from unic.recipe.schema import load_recipe
from unic.training import engine
from unic.training.build import build
from unic.training.job import Job
from unic.training.pull import pull_towards
from unic.training.stage import Stage
from unic.training.step import training_step
from unic.training.teachers import LiveTeachers

LOSSES = {
    "cosine": 1.0, "mse": 1.0, "smooth_l1": 1.0, "relational": 1.0, "queue_kl": {"length": 16}, "balanced_summary": 1.0,
    "shift_equivariant": 1.0,
}  # fmt: skip
_WAIT = "called a synchronizing CUDA operation"  # torch's warning, as of c10/cuda/CUDAFunctions.cpp
VIT, CNN = "timm:test_vit?pretrained=false&img_size=32", "timm:test_efficientnet?pretrained=false&img_size=64"


def recipes(images: Path) -> dict[str, dict[str, Any]]:
    paper: dict[str, Any] = {
        "teachers": {"models": {"vit": VIT, "cnn": CNN}},
        "student": {"model": VIT, "drop_path": 0.2},
        "projector": {"type": "ladder", "hidden_dim": 8, "last_hidden_dim": 16},
        "data": {"train": str(images), "size": 32, "augment": "unic", "workers": 0},
        "train": {"steps": 6, "batch_size": 8, "precision": "fp32", "warmup_epochs": 0},
    }
    sources = [{"path": str(images), "anchor": 0.3}, {"path": str(images), "teachers": ["vit"]}]
    every = paper | {
        "data": paper["data"] | {"train": sources, "holdout": 0},
        "standardize": {"type": "ema", "momentum": [1.0, 0.001], "floor": 0.1},
        "train": paper["train"] | {"micro_batches": 2, "clip_grad": 1.0, "patch_share": 0.5, "ema": 0.9, "pull": 0.01},
    }
    states = paper | {"weighting": {"type": "gradnorm"}, "standardize": {"type": "phi_s", "steps": 1}}
    measures = paper | {
        "weighting": {"type": "teacher_dropping", "level": "batch"},
        "standardize": {"type": "phi_s", "steps": 10},  # so that no step counted is past the first ones
    }
    return {
        "paper": paper, "every option": every, "parts with a state": states, "first steps": measures,
        "every loss": paper | {"loss": LOSSES},
    }  # fmt: skip


def part(options: argparse.Namespace) -> Answer:
    images = options.folder / "images"
    make_images(images, 32)
    values: dict[str, Any] = {}
    for name, recipe in recipes(images).items():
        ways = {"pretended": pretended} if options.is_toy else {"pretended": pretended, "torch": told_by_torch}
        values[name] = {way: counts(recipe, options.folder / f"{name} {way}") for way, counts in ways.items()}
    found = [count for each in values.values() for count in each.values()]
    of_steps = sum(sum(each["step"].values()) for each in found)
    mixed = sum(sum(each["mixed"].values()) for each in found)
    graphs = values["new graphs"] = new_graphs(recipes(images)["paper"], options.device)
    of_logs = max(sum(each["log"].values()) for each in found)
    line = (
        f"{of_steps} waits in a step, {of_logs} at most for a log line; {mixed} mixed operations, {graphs} new graphs"
    )
    if of_steps or mixed or graphs:
        raise SystemExit(f"{line}: {values}")
    return line, values


def pretended(recipe: dict[str, Any], folder: Path) -> dict[str, dict[str, int]]:
    """Waits of a step, operations on tensors of both sides, and waits of a log line, by the line that makes them."""
    stage, step = prepared(recipe, folder, torch.device("cpu"))
    step()  # what is looked at once, as the range of the images
    gpu, job = PretendedGpu(), stage.job
    losses = [loss for own in job.distiller.losses.values() for _, loss in own.values()]
    gpu.move(job.distiller, *losses, job.standardizer, job.weighting, *job.encoders.values())
    gpu.mark(list(stage.guard.__dict__.values()))
    if stage.ema:
        gpu.mark(stage.ema.tensors)
    if job.anchor:
        gpu.move(job.anchor._start)
        gpu.mark(job.anchor._centre)
        job.anchor._device = DEVICE
    job.device = DEVICE
    with gpu:
        pull(stage)
        gpu.waits.clear()
        values = step()
        of_step, mixed = dict(gpu.waits), dict(gpu.mixed)
        gpu.waits.clear()
        values()
    return {"step": of_step, "mixed": mixed, "log": dict(gpu.waits)}


def told_by_torch(recipe: dict[str, Any], folder: Path) -> dict[str, dict[str, int]]:
    """The same, without mixed operations: on a GPU they are errors."""
    stage, step = prepared(recipe, folder, torch.device("cuda"))
    step()
    pull(stage)
    values: list[Callable[[], dict[str, float]]] = []
    of_step = warned(lambda: values.append(step()))
    return {"step": of_step, "mixed": {}, "log": warned(lambda: values[0]())}


def warned(run: Callable[[], object]) -> dict[str, int]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return dict(Counter(f"{each.filename}:{each.lineno}" for each in caught if _WAIT in str(each.message)))


def prepared(
    recipe: dict[str, Any], folder: Path, device: torch.device
) -> tuple[Stage, Callable[[], Callable[[], dict[str, float]]]]:
    """A stage, and what makes its next step."""
    accelerator = accelerator_on(device)
    job = build(load_recipe(recipe), device)
    stage = stage_of(job, folder, accelerator)
    model = engine.prepare(job, accelerator).train()
    if stage.ema:
        stage.ema.follow(job.distiller)
    teachers, batches, numbers = job.live_teachers(), stage.batches(), iter(range(1, 7))
    return stage, lambda: training_step(stage, model, teachers, batches, next(numbers))


def accelerator_on(device: torch.device) -> Accelerator:
    """One for this device: accelerate keeps the device of the first one of a process for all further ones."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision="no", cpu=device.type == "cpu")


def pull(stage: Stage) -> None:
    """After what moves the weights: it has them by themselves."""
    job = stage.job
    if job.recipe.train.pull:
        pull_towards(stage.start.weights, job.student, job.optimizer, job.recipe.train.pull)


def new_graphs(recipe: dict[str, Any], device: str) -> int:
    """Graphs of teachers that a second and a third batch of one shape make."""
    job: Job = build(load_recipe(recipe), torch.device(device))
    counted = Counter[str]()

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        counted["graphs"] += 1
        return graph.forward

    torch._dynamo.reset()
    teachers = LiveTeachers(job.encoders, job.grid, job.resolutions)
    teachers._run = {name: torch.compile(each, backend=count) for name, each in teachers.encoders.items()}
    made = []
    for _ in range(3):
        batch = job.first_batch(8)
        teachers(job.views(batch), batch.index, batch.view)
        made.append(counted["graphs"])
    assert made[0], "nothing was compiled"
    return made[-1] - made[0]


if __name__ == "__main__":
    main(part)
