"""Teacher cache: time of an epoch against live teachers and the student alone, and quality of the student.

    python benchmarks/cache.py [--recipe recipes/quickstart.yaml] [--images 512] [--rounds 3] [KEY=VALUE …] [--out FILE]
    python benchmarks/cache.py --quality --images 1500 [--views 1 4 16] [--dtype fp16] [--no-live] [--epochs 32] […]

Time: the training step of the recipe (`unic.training.step`), with targets from a warm cache, from the teachers, or from
random tensors of the same shapes in memory (the student alone). The three take turns step by step, on the same decoded
batches; decoding is not timed. Reads: the time to read the targets of a batch alone, without a thread.

Quality: whole trainings with augmentation, with live teachers and with V cached views, each in a new cache, then the
k-NN tasks of a suite on the student; the score is their mean. Take more epochs than views: otherwise each view is seen
once, which is the same as live teachers but for rounding. Prints tables, `--out` writes JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from _machine import machine
from _stage import stage_of
from accelerate import Accelerator
from rich.console import Console

import unic
from unic.data.batch import Batch
from unic.recipe.schema import Recipe, load_recipe
from unic.tokens import Tokens
from unic.training.build import build
from unic.training.stage import Stage
from unic.training.step import training_step
from unic.training.teacher_cache import CachedTeachers, open_cache
from unic.training.teachers import LiveTeachers, Teachers

DTYPES = ("fp16", "int8")
BASE = "student alone"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipe", default="recipes/quickstart.yaml")
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--images", type=int, default=512, help="in all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--views", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--dtype", default="fp16", choices=DTYPES, help="of the patches, for the quality")
    parser.add_argument("--live", action=argparse.BooleanOptionalAction, default=True, help="for the quality")
    parser.add_argument("--epochs", type=float, default=32)
    parser.add_argument("--suite", default="quick", help="for the quality")
    parser.add_argument("--augment", default="unic", help="for the quality")
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value, as in a recipe")
    options = parser.parse_intermixed_args()
    results: dict[str, Any] = {"machine": machine("torch", "timm", "numpy"), "rows": []}
    results["options"] = {key: value for key, value in vars(options).items() if key != "out"}
    with tempfile.TemporaryDirectory() as folder:
        results["rows"] = (measure_quality if options.quality else measure_time)(options, Path(folder))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1, default=str) + "\n")


def measure_time(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    recipe = load_recipe(options.recipe, ["eval.suite=null", "checkpoint.every=1000000", *options.overrides])
    recipe = limited(recipe, options.images)
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
    ways: dict[str, Teachers] = {}
    for dtype in DTYPES:
        job = build(with_cache(recipe, folder, dtype=dtype), accelerator.device)
        started = time.perf_counter()
        ways[f"warm cache, {dtype}"] = open_cache(job, 0, 1, print, lambda line: None)
        print(f"built in {time.perf_counter() - started:.1f} s")
    job = build(with_cache(recipe, folder), accelerator.device)
    stage = stage_of(job, folder, accelerator)
    batches = [next(upcoming) for upcoming in [stage.batches()] for _ in range(job.steps_per_epoch)]
    live = LiveTeachers(job.encoders, job.grid)
    shapes = live(batches[0].images[:1].to(job.device) / 255, batches[0].index[:1], batches[0].view[:1])
    ways |= {BASE: Resident(shapes, recipe.train.batch_size), "live teachers": live}
    reads = {name: read_time(way, batches) for name, way in ways.items() if isinstance(way, CachedTeachers)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    model = accelerator.prepare(job.distiller).train()
    for turn in range(options.rounds + 1):  # the first round warms up
        epochs = epoch_times(stage, model, ways, batches)
        if turn:
            for name, seconds in epochs.items():
                times[name].append(seconds)
    return [print_row(name, times, reads.get(name), len(batches)) for name in [BASE, *(set(ways) - {BASE})]]


def limited(recipe: Recipe, num_images: int) -> Recipe:
    sources = recipe.data.train
    train = [source.model_copy(update={"limit": max(1, num_images // len(sources))}) for source in sources]
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": train})})


def with_cache(recipe: Recipe, folder: Path, **changes: Any) -> Recipe:
    cache = {**(recipe.teachers.cache.model_dump() if recipe.teachers.cache else {}), "dir": str(folder), **changes}
    return load_recipe({**recipe.model_dump(mode="json"), "teachers": {**recipe.teachers.model_dump(), "cache": cache}})


class Resident:
    """Targets that cost nothing: random, in memory."""

    def __init__(self, shapes: dict[str, Tokens], batch_size: int) -> None:
        self.targets = {
            name: Tokens(like(tokens.cls, batch_size), like(tokens.patches, batch_size), tokens.grid)
            for name, tokens in shapes.items()
        }

    def __call__(self, images: torch.Tensor, index: torch.Tensor, view: torch.Tensor) -> dict[str, Tokens]:
        return self.targets

    def ahead(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        return batches


def like(values: torch.Tensor, batch_size: int) -> torch.Tensor:
    return torch.randn(batch_size, *values.shape[1:], device=values.device)


def epoch_times(
    stage: Stage, model: torch.nn.Module, ways: dict[str, Teachers], batches: list[Batch]
) -> dict[str, float]:
    """Seconds of an epoch for each kind of targets. They take turns at every step, in an order that changes with it."""
    seconds = dict.fromkeys(ways, 0.0)
    upcoming = {name: way.ahead(iter(batches)) for name, way in ways.items()}
    names = list(ways)
    for step in range(1, len(batches) + 1):
        for name in names[step % len(names) :] + names[: step % len(names)]:
            seconds[name] += timed(
                lambda name=name, step=step: training_step(stage, model, ways[name], upcoming[name], step)
            )
    return seconds


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def read_time(way: CachedTeachers, batches: list[Batch]) -> float:
    """Median seconds for the targets of a batch, read, checked and decoded, in the calling thread."""
    calls = [timed(lambda batch=batch: way(batch.images, batch.index, batch.view)) for batch in batches * 2]
    return statistics.median(calls[len(batches) :])


def print_row(name: str, times: dict[str, list[float]], read: float | None, steps: int) -> dict[str, Any]:
    if name == BASE:
        print(
            "| targets | epoch s | ratio to the student alone | range | read alone, ms a step |",
            "|---" * 5 + "|",
            sep="\n",
        )
    ratios = [one / base for one, base in zip(times[name], times[BASE], strict=True)]
    shown = f"{1000 * read:.1f}" if read is not None else ""
    print(f"| {name} | {statistics.median(times[name]):.2f} | {statistics.median(ratios):.3f} | "
          f"{min(ratios):.3f}–{max(ratios):.3f} | {shown} |", flush=True)  # fmt: skip
    return {"targets": name, "epoch_s": times[name], "ratios": ratios, "read_s": read, "steps": steps}


def measure_quality(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Trains with live teachers first, then with each number of views, with equal seed, order and number of steps."""
    rows = []
    print("| teachers | k-NN mean | minutes of training | cache GB |", "|---" * 4 + "|", sep="\n")
    for views in (None, *options.views) if options.live else options.views:
        cache = "null" if views is None else f"{{views: {views}, dtype: {options.dtype}, dir: {folder / 'cache'}}}"
        out = folder / f"views-{views}"
        changes = [f"teachers.cache={cache}", f"data.augment={options.augment}", f"train.epochs={options.epochs}"]
        recipe = load_recipe(options.recipe, [*changes, "eval.suite=null", *options.overrides])
        started = time.perf_counter()
        unic.distill(limited(recipe, options.images), out=out, console=Console(quiet=True))
        minutes = (time.perf_counter() - started) / 60
        found = unic.evaluate(
            {"student": out}, suite=options.suite, tasks=["knn"], teachers=False, console=Console(quiet=True)
        )
        scores = {task: models["student"]["score"] for task, models in found["tasks"].items()}
        size = sum(file.stat().st_size for file in (folder / "cache").rglob("*.npy")) / 1e9
        shutil.rmtree(folder / "cache", ignore_errors=True)
        row = {"views": views, "knn": statistics.mean(scores.values()), "scores": scores, "minutes": minutes}
        name = "live" if views is None else f"{views} cached view{'s' if views > 1 else ''}"
        print(f"| {name} | {row['knn']:.2f} | {minutes:.1f} | {size:.2f} |", flush=True)
        rows.append(row | {"cache_gb": size})
    return rows


if __name__ == "__main__":
    main()
