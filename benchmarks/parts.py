"""What a training step costs by part, how near each part is to its limit, and how parts grow.

    python benchmarks/parts.py NAME [--batch-size 8] [--rounds 5] [--threads 1] [--vary] [--out FILE]

NAME is one of CONFIGURATIONS of `step.py`. Batches come from JPEGs as `loader.py` makes them, so that decoding and
augmentation are parts, too. All runs in one process, and seconds are those of the processor, so other programs disturb
less; a GPU has none, so this is for CPUs. The parts of a step add up to it. Its backward pass is divided where the
gradient reaches the projectors' outputs, and where it reaches the student's tokens: autograd runs what was computed
last first, so losses, projectors and student follow each other.

A part's limit is its FLOP at the rate of a large bf16 product or its bytes at that of a copy, whichever takes longer;
both rates are measured in every round. FLOP are counted by torch. Bytes are what eager operations read and write, were
none of it in a cache; a part whose tensors fit in one may therefore be above its limit.

`--vary` changes one thing at a time: images, teachers, patches, and the share of patches that is compared. Each variant
takes turns with the configuration as it is, step by step, and ratios are those within a turn.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from _bytes import bytes_moved
from _machine import machine
from _timed import cpu_seconds
from loader import write_mosaics
from step import CONFIGURATIONS, Configuration, Ours, count_flop, recipe_of, spread
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unic.data.batch import Batch
from unic.recipe.schema import load_recipe
from unic.tokens import Tokens
from unic.training import distiller, step

CPU = torch.device("cpu")
JPEGS, SIDE = 64, 500
PARTS = ("data", "teachers", "standardiser", "student", "projectors", "losses", "weighting", "optimiser", "rest")
FLOP_OF = {"teachers": "teachers", "student": "student", "projectors": "ladder"}  # a part's name in `count_flop`


@dataclass(frozen=True)
class Variant:
    """What differs from the configuration, in words, and what is measured."""

    what: str
    value: str
    chosen: Configuration
    batch: int
    share: float = 1.0


def variants(base: Variant) -> Iterator[Variant]:
    """One thing changed at a time, down and up."""
    for batch in (base.batch // 2, 2 * base.batch):
        yield replace(base, what="images", value=f"{batch}", batch=batch)
    teachers = base.chosen.teachers
    for some in (teachers[: len(teachers) // 2], teachers * 2):
        yield replace(base, what="teachers", value=f"{len(some)}", chosen=replace(base.chosen, teachers=some))
    for side in (base.chosen.size // 2, base.chosen.size * 3 // 2):
        yield replace(base, what="side in pixels", value=f"{side}", chosen=resized(base.chosen, side))
    yield replace(base, what="share of patches compared", value="0.25", share=0.25)


def resized(chosen: Configuration, side: int) -> Configuration:
    def at_side(uri: str) -> str:
        return re.sub(r"&img_size=\d+", "", uri) + f"&img_size={side}"

    return replace(chosen, size=side, student=at_side(chosen.student), teachers=tuple(map(at_side, chosen.teachers)))


class Clock:
    """Gives each moment, and the bytes that operations move in it, to the part that is at work."""

    def __init__(self) -> None:
        self.seconds, self.moved = defaultdict[str, float](float), defaultdict[str, float](float)
        self._at_work, self._since = ["rest"], time.process_time()

    @property
    def part(self) -> str:
        return self._at_work[-1]

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        self._note()
        self._at_work.append(part)
        yield
        self._note()
        self._at_work.pop()

    def follow(self, part: str) -> None:
        """The part at work is over, and another one goes on in its place."""
        self._note()
        self._at_work[-1] = part

    def measured(self, part: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self.within(part):
                return run(*arguments, **options)

        return call

    def _note(self) -> None:
        now = time.process_time()
        self.seconds[self.part] += now - self._since
        self._since = now


class Bytes(TorchDispatchMode):
    """Adds to the part at work what each operation reads and writes."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._clock.moved[self._clock.part] += bytes_moved(func, args, kwargs, result)
        return result


class Stepper:
    """A stage of a run on real batches, whose steps are measured by part."""

    def __init__(self, variant: Variant, images: Path) -> None:
        asked = argparse.Namespace(
            weighting="teacher_dropping", standardizer="ema", compile=False, patch_share=variant.share
        )
        plan = recipe_of(variant.chosen, variant.batch, asked).model_dump(mode="json")
        recipe = load_recipe(plan, [f"data.train=[{{path: {images}}}]", "data.augment=unic"])
        self.ours, self.share = Ours(recipe, CPU, images.parent / "run"), variant.share
        self.batches, self.steps_done = self.ours.stage.batches(), 0
        for _ in range(2):  # the first is without an update; the second makes the moments of Adam
            self.step()

    def step(self, *, count: bool = False) -> Clock:
        """One step. `count`: count bytes, which takes time."""
        clock, ours = Clock(), self.ours
        self.steps_done += 1
        with ExitStack() as stack:
            for owner, name, run in self._patches(clock):
                stack.enter_context(patch.object(owner, name, run))
            run_of = {name: clock.measured(f"teachers/{name}", run) for name, run in ours.teachers._run.items()}
            stack.enter_context(patch.dict(ours.teachers._run, run_of))
            if count:
                stack.enter_context(Bytes(clock))
            model, teachers = clock.measured("losses/forward", ours.model), clock.measured("teachers", ours.teachers)
            with clock.within("rest"):
                step.training_step(ours.stage, model, teachers, self._read(clock), self.steps_done)
        return clock

    def flop(self) -> dict[str, float]:
        """FLOP of a step by part."""
        images = self.ours.job.views(self.ours.batch)
        counted = count_flop(self.ours, images[:2], self.share)
        return {part: counted[name] * len(images) for part, name in FLOP_OF.items()}

    def _read(self, clock: Clock) -> Iterator[Batch]:
        while True:
            with clock.within("data/read"):
                batch = next(self.batches)
            yield batch

    def _patches(self, clock: Clock) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
        job = self.ours.job

        def known(tokens: list[Tokens], part: str) -> list[Tokens]:
            """The same tokens, where the backward pass of another part begins."""
            for x in (x for each in tokens for x in (each.cls, each.patches) if x.requires_grad):
                x.register_hook(lambda _: clock.follow(part))
            return tokens

        intermediates, project = job.student.intermediates, distiller.project
        yield (
            job.student,
            "intermediates",
            clock.measured("student/forward", lambda *given: known(intermediates(*given), "student/backward")),
        )
        yield (
            distiller,
            "project",
            clock.measured("projectors/forward", lambda *given: known(project(*given), "projectors/backward")),
        )
        yield job, "views", clock.measured("data/views", job.views)
        for name, part in (("forward", "forward"), ("update", "update")):
            yield job.standardizer, name, clock.measured(f"standardiser/{part}", getattr(job.standardizer, name))
        for name in ("coefficients", "sums", "observe", "end_step"):
            yield job.weighting, name, clock.measured("weighting", getattr(job.weighting, name))
        yield Tensor, "backward", clock.measured("losses/backward", Tensor.backward)
        yield step, "optimizer_step", clock.measured("optimiser", step.optimizer_step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("configuration", choices=CONFIGURATIONS)
    parser.add_argument("--batch-size", type=int, help="default: the configuration's on a CPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vary", action="store_true", help="also other numbers of images, teachers and patches")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    chosen = CONFIGURATIONS[options.configuration]
    if options.vary and not all(uri.startswith("timm:vit") or "test_vit" in uri for uri in chosen.teachers):
        parser.error("--vary needs a configuration of ViTs of timm")
    torch.set_num_threads(options.threads)
    base = Variant("", "", chosen, options.batch_size or chosen.batch_on_cpu)
    result: dict[str, Any] = {"machine": machine("torch", "timm"), "configuration": options.configuration}
    result |= {"batch_size": base.batch, "threads": options.threads}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        write_mosaics(images, max(JPEGS, base.batch * 2), SIDE)
        stepper = Stepper(base, images)
        result |= by_part(stepper, options.rounds)
        print_parts(result)
        if options.vary:
            result["varied"] = [compared(stepper, variant, images, options.rounds) for variant in variants(base)]
            print_growth(result["varied"])
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def by_part(stepper: Stepper, rounds: int) -> dict[str, Any]:
    """Seconds of each part, its share of the step, and of its own limit, within each round."""
    moved, flop = totals(stepper.step(count=True).moved), stepper.flop()
    details, seen = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    ceilings = defaultdict[str, list[float]](list)
    for _ in range(rounds):
        now = {"product_flops": product(torch.bfloat16), "fp32_flops": product(torch.float32), "copy_bytes": copy()}
        found = stepper.step().seconds
        for name, value in now.items():
            ceilings[name].append(value)
        for name, value in found.items():
            details[name].append(value)
        seconds, whole = totals(found), sum(found.values())
        seen["step"].append(whole)
        for part in PARTS:
            limit = max(flop.get(part, 0) / now["product_flops"], moved[part] / now["copy_bytes"])
            seen[f"{part}: seconds"].append(seconds[part])
            seen[f"{part}: share"].append(seconds[part] / whole)
            seen[f"{part}: of limit"].append(limit / seconds[part])
        limit = sum(flop.values()) / now["product_flops"]
        seen["step: of product"].append(limit / whole)
    parts = {
        part: {
            "flop": flop.get(part, 0.0), "bytes": moved[part],
            **{kind: spread(seen[f"{part}: {kind}"]) for kind in ("seconds", "share", "of limit")},
        } for part in PARTS
    }  # fmt: skip
    return {
        "seconds": spread(seen["step"]),
        "of_product": spread(seen["step: of product"]),
        "ceilings": {name: spread(values) for name, values in ceilings.items()},
        "parts": parts,
        "within": {name: spread(values) for name, values in details.items()},
        "trained": sum(p.numel() for p in stepper.ours.job.distiller.parameters() if p.requires_grad),
        "rounds": rounds,
    }


def compared(base: Stepper, variant: Variant, images: Path, rounds: int) -> dict[str, Any]:
    """Each part's seconds, divided by those of the configuration as it is, in the same turn."""
    other = Stepper(variant, images)
    ratios = defaultdict[str, list[float]](list)
    for turn in range(rounds):
        found: dict[str, dict[str, float]] = {}
        for name, stepper in sorted({"base": base, "other": other}.items(), reverse=bool(turn % 2)):
            seconds = stepper.step().seconds
            found[name] = totals(seconds) | {"step": sum(seconds.values())}
        for part in ("step", *PARTS):
            ratios[part].append(found["other"][part] / found["base"][part])
    flop, before = other.flop(), base.flop()
    return {
        "what": variant.what,
        "value": variant.value,
        "flop": {part: flop[part] / before[part] for part in flop},
        "flop_of_step": sum(flop.values()) / sum(before.values()),
        "ratios": {part: spread(values) for part, values in ratios.items()},
    }


def totals(details: dict[str, float]) -> dict[str, float]:
    """Sums of what is measured within each part."""
    sums = dict.fromkeys(PARTS, 0.0)
    for name, value in details.items():
        sums[name.partition("/")[0]] += value
    return sums


def product(dtype: torch.dtype) -> float:
    """FLOP a second of a product as a linear layer makes it; the best of three."""
    side = 2048
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    torch.mm(a, b.t())
    return 2 * side**3 / min(cpu_seconds(lambda: torch.mm(a, b.t())) for _ in range(3))


def copy() -> float:
    """Bytes a second of a copy within the memory, read and written; the best of three."""
    source = torch.zeros(1 << 28, dtype=torch.uint8)
    target = source.clone()
    return 2 * len(source) / min(cpu_seconds(lambda: target.copy_(source)) for _ in range(3))


def print_parts(result: dict[str, Any]) -> None:
    for name, rate in result["ceilings"].items():
        print(f"{name}: {shown(rate, 1e9)} G/s")
    print(f"a step: {shown(result['seconds'])} s, {shown(result['of_product'], 0.01)} % of the product\n")
    print("| part | seconds | % of the step | GFLOP | GB | % of its limit |", "|---|---|---|---|---|---|", sep="\n")
    for name, part in result["parts"].items():
        print(
            f"| {name} | {shown(part['seconds'])} | {shown(part['share'], 0.01)} | {part['flop'] / 1e9:.3g} | "
            f"{part['bytes'] / 1e9:.2g} | {shown(part['of limit'], 0.01)} |"
        )
    print()
    for name, seconds in sorted(result["within"].items()):
        print(f"{name}: {shown(seconds)} s")


def print_growth(varied: list[dict[str, Any]]) -> None:
    names = ("step", *PARTS[:-1])
    print("\n| varied | products |", " | ".join(names), "|")
    print("|---" * (len(names) + 2) + "|")
    for row in varied:
        cells = " | ".join(shown(row["ratios"][name]) for name in names)
        print(f"| {row['what']} {row['value']} | {row['flop_of_step']:.2f} | {cells} |")


def shown(values: dict[str, float], unit: float = 1.0) -> str:
    middle, low, high = (values[key] / unit for key in ("median", "min", "max"))
    return f"{middle:.3g} ({low:.3g}–{high:.3g})"


if __name__ == "__main__":
    main()
