"""FSDP2 with one rank, and NCCL where there is a GPU: the same losses as without, and gradients in 16 bit.

A run with one process is not sharded, so the parts are put together here as `unic.training.engine.prepare` does with
several.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from _part import Answer, main
from accelerate import Accelerator
from syncs import recipes
from torch.distributed.fsdp import FSDPModule

from _stage import stage_of  # isort: skip
from soak import make_images  # isort: skip

from unic.recipe.schema import load_recipe
from unic.training import engine
from unic.training.build import build
from unic.training.step import training_step
from unic.training.watch import process_group

STEPS = 5
TOLERANCE = 1e-4


def part(options: argparse.Namespace) -> Answer:
    names = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29511}
    os.environ.update({name: str(value) for name, value in names.items()})
    is_toy = options.is_toy
    dist.init_process_group("gloo" if is_toy else "nccl", rank=0, world_size=1)
    accelerator = Accelerator(mixed_precision="no", cpu=is_toy, kwargs_handlers=[process_group(60)])
    images = options.folder / "images"
    make_images(images, 32)
    recipe = recipes(images)["paper"]
    recipe["train"] |= {"engine": "fsdp"}
    plain, _ = losses(recipe, options.folder / "plain", accelerator, shard=False)
    sharded, seconds = losses(recipe, options.folder / "sharded", accelerator, shard=True)
    recipe["train"] |= {"gradients": "bf16"}
    halved, _ = losses(recipe, options.folder / "halved", accelerator, shard=True)
    backend = dist.get_backend()
    dist.destroy_process_group()
    difference = max(abs(one - other) for one, other in zip(plain, sharded, strict=True))
    in_half = max(abs(one - other) for one, other in zip(plain, halved, strict=True))
    line = f"{backend}: losses of {STEPS} steps within {difference:.1e} (bf16 gradients {in_half:.1e}), {seconds:.1f} s"
    if not difference < TOLERANCE:
        raise SystemExit(line)
    return line, {"backend": backend, "difference": difference, "difference_bf16": in_half}


def losses(recipe: dict[str, Any], folder: Path, accelerator: Accelerator, *, shard: bool) -> tuple[list[float], float]:
    torch.manual_seed(0)
    job = build(load_recipe(recipe), accelerator.device)
    stage = stage_of(job, folder, accelerator)
    if shard:
        engine._shard(job, accelerator)
        assert isinstance(job.distiller, FSDPModule)
    model, teachers, batches = job.distiller.train(), job.live_teachers(), stage.batches()
    begun = time.perf_counter()
    found = [training_step(stage, model, teachers, batches, step)()["loss"] for step in range(1, STEPS + 1)]
    return found, time.perf_counter() - begun


main(part)
