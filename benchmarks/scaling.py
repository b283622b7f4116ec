"""Bytes and time of a step by batch, teachers, resolution and processes; and predictions for many GPUs.

    python benchmarks/scaling.py [--steps 5] [--skip-measuring] [--share 0.5] [--network 50] [KEY=VALUE …] [--out FILE]

Measured: the step of a recipe (`recipes/quickstart.yaml`) in gloo processes of one thread each, with one thing varied
at a time; decoding is not timed. Bytes are counted by the loopback device, so they are what was really sent.
With W processes, P trained parameters, D_t,k the width of teacher t and token type k, each process sends in a step

    bytes = 2 (W − 1)/W · 4 P                      gradients: a ring's reduce-scatter and all-gather, fp32
          + (W − 1) · 4 Σ_t,k (2 D_t,k + 1)        moments of the standardiser
          + 4 S                                    buffers of the student (BatchNorm), handed down from the first

and a step takes t(b, W) = t(b, 1) + e(W): the step of one process with its share b of the batch, and the exchange.

Predicted, for UNIC ViT-B with four teachers: compute = FLOP · b / (ceiling · share). The backward pass hides the
exchange (DDP), so t = compute + max(0, e − backward), e = bytes / bandwidth + calls · 2 log2(W) · latency.
With teachers on W_t ranks of their own and students on W_s = W − W_t: t = max(teachers' part of the batch / W_t,
students' part / W_s + the part of e(W_s) that is not hidden), with tokens sent meanwhile. Last column: every rank does
both, but gradients are exchanged in bf16.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from _machine import machine
from _stage import stage_of
from accelerate import Accelerator

from unic.recipe.schema import load_recipe
from unic.training import engine
from unic.training.build import build
from unic.training.job import Job
from unic.training.step import training_step
from unic.training.teachers import LiveTeachers
from unic.training.watch import process_group

PLAIN = ("eval.suite=null", "data.workers=0", "trackers={}", "data.train=[{path: samples/clipart}]")
VARIED = {  # one thing at a time
    "processes": [(1, 16, []), (2, 16, []), (4, 16, [])],
    "batch of a process": [(w, b, []) for b in (8, 32) for w in (1, 2)],
    "teachers": [(w, 16, [f"teachers.models={{{names}}}"]) for names in (
        "lite0: 'packaged:efficientnet_lite0?size=128'",
        "lite0: 'packaged:efficientnet_lite0?size=128', ocr: 'packaged:ppocr_v4_rec?size=48x64'",
    ) for w in (1, 2)],
    "resolution": [(w, 16, ["data.size=192", "student.model=packaged:efficientnet_lite0?size=192"]) for w in (1, 2)],
    "engine": [(2, 16, ["train.engine=fsdp"])],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipe", default="recipes/quickstart.yaml")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--skip-measuring", action="store_true")
    for key, value in vars(Cluster()).items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=float, default=value, help=f"default: {value:g}")
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value, as in a recipe")
    options = parser.parse_intermixed_args()
    results: dict[str, Any] = {"machine": machine("torch", "accelerate"), "measured": []}
    if not options.skip_measuring:
        results["measured"] = measured(options)
    cluster = Cluster(**{key: getattr(options, key) for key in vars(Cluster())})
    results["cluster"] = vars(cluster)
    results["predicted"] = predicted(cluster)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


def head(*names: str) -> None:
    line(*names)
    line(*["---"] * len(names))


def line(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


# What is measured


def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    times = ("step s", "t(b, 1) + e(W)", "measured / that")
    head("varied", "processes", "batch of each", "sent MB a process", "formula", *times)
    rows, alone = [], {}
    for what, configurations in VARIED.items():
        for world, batch, changes in configurations:
            row = in_processes(world, batch, changes, options)
            if world == 1:
                alone[(batch, *changes)] = row["seconds"]
            base = alone.get((batch, *changes), alone[(16,)])  # FSDP in one process is the plain run
            row |= {"varied": what, "changes": changes, "model": base + row["exchange"]}
            rows.append(row)
            sizes = [f"{row[key] / 1e6:.2f}" for key in ("sent", "formula")]
            seconds = [f"{value:.2f}" for value in (row["seconds"], row["model"], row["seconds"] / row["model"])]
            line(" ".join([what, *changes]), world, batch, *sizes, *seconds)
    return rows


def in_processes(world: int, batch: int, changes: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Median seconds of a step (of the slowest process), bytes that a process sent, and those of the formula."""
    overrides = [*PLAIN, f"train.batch_size={batch * world}", f"train.steps={options.steps + 2}"]
    recipe = load_recipe(options.recipe, [*overrides, *options.overrides, *changes]).model_dump(mode="json")
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        mp.spawn(one_process, (world, port, recipe, options.steps, folder), nprocs=world)  # type: ignore[no-untyped-call]
        found = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(world)]
    row = {"processes": world, "batch": batch, "sent": found[0]["sent"] / world, "formula": found[0]["formula"]}
    return row | {key: max(each[key] for each in found) for key in ("seconds", "exchange")}


def one_process(rank: int, world: int, port: int, plan: dict[str, Any], steps: int, folder: str) -> None:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if world > 1:
        os.environ.update({name: str(value) for name, value in names.items()})
    torch.set_num_threads(1)
    accelerator = Accelerator(mixed_precision="no", cpu=True, kwargs_handlers=[process_group(600)])
    recipe = load_recipe(plan)
    job = build(recipe, accelerator.device, world)
    stage = stage_of(job, Path(folder), accelerator)
    formula = bytes_of_a_step(job, world)
    model = engine.prepare(job, accelerator).train()
    teachers = LiveTeachers(job.encoders, job.grid)
    batches = list(stage.batches())
    seconds = []
    for step in range(1, len(batches) + 1):
        if step == 3:  # after two steps of warm-up: DDP orders its buckets after the first
            accelerator.wait_for_everyone()
            before = sent_on_loopback()
        started = time.perf_counter()
        training_step(stage, model, teachers, iter(batches[step - 1 : step]), step)
        seconds.append(time.perf_counter() - started)
    accelerator.wait_for_everyone()
    sent = (sent_on_loopback() - before) / steps
    values = {"seconds": statistics.median(seconds[2:]), "sent": sent, "formula": formula}
    values["exchange"] = seconds_of_exchange(formula, world)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(values))
    accelerator.wait_for_everyone()
    if dist.is_initialized():
        dist.destroy_process_group()


def bytes_of_a_step(job: Job, world: int) -> float:
    """Bytes that one process sends in a step, by the formula above."""
    trained = sum(p.numel() for p in job.distiller.parameters() if p.requires_grad)
    moments = sum(2 * len(each) + 1 for name, each in job.standardizer.named_buffers() if name.endswith("mean"))
    buffers = sum(each.numel() * each.element_size() for each in job.distiller.buffers())
    handed_down = buffers * (world - 1) / world
    return 2 * (world - 1) / world * 4 * trained + (world - 1) * 4 * moments + handed_down


def seconds_of_exchange(num_bytes: float, world: int) -> float:
    """Median time of an all-reduce that sends so many bytes."""
    if world == 1:
        return 0.0
    values, seconds = torch.zeros(round(num_bytes / 4 * world / (2 * (world - 1)))), []
    for _ in range(4):
        dist.barrier()
        started = time.perf_counter()
        dist.all_reduce(values)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def sent_on_loopback() -> int:
    line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split()[9])


# What is predicted


@dataclass(frozen=True)
class Cluster:
    """Assumptions, each an option. Rates of one GPU: FLOP/s of a large bf16 product, bytes/s to others, seconds."""

    ceiling: float = 790e12  # measured on an H200
    share: float = 0.5  # of the ceiling that a step reaches, whatever its batch: the goal, not a measurement
    network: float = 50e9  # 400 Gb/s for each GPU
    nvlink: float = 450e9  # within a machine of eight
    bus: float = 0.8  # of either that an all-reduce reaches
    latency: float = 1e-5


TEACHERS, STUDENT, LADDER = 140.5e9, 105.4e9, 83.7e9  # FLOP an image, forward and backward (benchmarks/step.py)
TRAINED = 227.5e6
MOMENTS = 4 * 2 * (2 * 768 + 1)
TOKENS = 4 * 197 * 768 * 2  # bytes of an image's targets in 16 bit
BUCKET = 25e6  # DDP's


def predicted(cluster: Cluster) -> list[dict[str, Any]]:
    rows = []
    print()
    times = ("exchange ms", "compute ms", "left over ms")
    head("GPUs", "batch of each", "sent MB", *times, "efficiency", "images/s", "teacher ranks", "bf16 gradients")
    for batches in ([(2**k, 128) for k in range(3, 10)], [(2**k, 4096 >> k) for k in range(3, 10)]):
        for world, batch in batches:
            row = step_of(world, batch, cluster)
            rows.append(row)
            milliseconds = [f"{1e3 * row[key]:.0f}" for key in ("exchange", "compute", "left")]
            rate = [f"{100 * row['efficiency']:.0f} %", f"{row['images_per_s']:.0f}"]
            split = f"{row['teacher_ranks']['ranks']}: {100 * row['teacher_ranks']['gain']:+.0f} %"
            line(
                world,
                batch,
                f"{row['bytes'] / 1e6:.0f}",
                *milliseconds,
                *rate,
                split,
                f"{100 * row['bf16_gain']:+.0f} %",
            )
    return rows


def step_of(world: int, batch: int, cluster: Cluster) -> dict[str, Any]:
    compute = (TEACHERS + STUDENT + LADDER) * batch / (cluster.ceiling * cluster.share)
    seconds = compute + left_over(world, batch, cluster)
    halved = compute + left_over(world, batch, cluster, gradient=2)
    return {
        "gpus": world,
        "batch": batch,
        "bytes": exchanged(world),
        "exchange": exchange_of(world, cluster, 4),
        "compute": compute,
        "left": seconds - compute,
        "efficiency": compute / seconds,
        "images_per_s": world * batch / seconds,
        "teacher_ranks": best_split(world, batch, seconds, cluster),
        "bf16_gain": seconds / halved - 1,
    }


def exchanged(world: int, gradient: int = 4) -> float:
    return 2 * (world - 1) / world * gradient * TRAINED + (world - 1) * 4 * MOMENTS


def exchange_of(world: int, cluster: Cluster, gradient: int) -> float:
    """Seconds; `gradient`: bytes of each parameter's gradient."""
    if world == 1:
        return 0.0
    bandwidth = cluster.bus * (cluster.nvlink if world <= 8 else cluster.network)
    calls = math.ceil(4 * TRAINED / BUCKET) + 2
    return exchanged(world, gradient) / bandwidth + calls * 2 * math.log2(world) * cluster.latency


def left_over(world: int, batch: float, cluster: Cluster, gradient: int = 4) -> float:
    """The exchange that the backward pass (two thirds of the training) does not hide, at least its last bucket."""
    backward = 2 / 3 * (STUDENT + LADDER) * batch / (cluster.ceiling * cluster.share)
    exchange = exchange_of(world, cluster, gradient)
    return max(exchange - backward, exchange * BUCKET / (4 * TRAINED))


def best_split(world: int, batch: int, seconds: float, cluster: Cluster) -> dict[str, float]:
    """The number of teacher ranks that makes the step shortest, and what it gains over every rank doing both."""
    total, rate = world * batch, cluster.ceiling * cluster.share

    def step(ranks: int) -> float:
        students = world - ranks
        teaching = TEACHERS * total / ranks / rate
        sending = TOKENS * total / ranks / (cluster.bus * (cluster.nvlink if world <= 8 else cluster.network))
        learning = (STUDENT + LADDER) * total / students / rate + left_over(students, total / students, cluster)
        return max(teaching, sending, learning)

    ranks = min(range(1, world), key=step)
    return {"ranks": ranks, "gain": seconds / step(ranks) - 1}


if __name__ == "__main__":
    main()
