"""What each weighting and each standardiser costs of a step.

    python benchmarks/weightings.py NAME [--batch-size 8] [--rounds 3] [--out FILE]

NAME is one of CONFIGURATIONS of `step.py`. In each round a whole step of training runs once, by the defaults of a
recipe, and then every weighting and every standardiser in turn, on losses and tokens of the same shapes. A share is
taken within a round; shown are the median and the range over the rounds. A weighting that needs gradients changes the
rest of the step as well, so it costs what a step with it takes longer. Seconds are those of the processor, so other
programs disturb less; a GPU has none, so this is for CPUs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from _machine import machine
from _timed import cpu_seconds
from step import CONFIGURATIONS, Ours, recipe_of

from unic import lookup
from unic.standardizers import build_standardizer
from unic.weightings import Pairs, Weighting, build_weighting

CPU = torch.device("cpu")
DEFAULTS = argparse.Namespace(weighting="teacher_dropping", standardizer="ema", compile=False, patch_share=1.0)
AGAIN = 5  # times that a short part runs in a round


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("configuration", choices=CONFIGURATIONS)
    parser.add_argument("--batch-size", type=int, help="default: the configuration's on a CPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = CONFIGURATIONS[options.configuration]
    batch = options.batch_size or chosen.batch_on_cpu
    result = {"machine": machine("torch", "timm"), "configuration": options.configuration, "batch_size": batch}
    with tempfile.TemporaryDirectory() as folder:
        result |= measure(Ours(recipe_of(chosen, batch, DEFAULTS), CPU, Path(folder)), options.rounds)
    for part in ("weightings", "standardizers"):
        for name, row in result[part].items():
            print(f"{name}: {row}")
    print(f"step: {result['step']:.3g} s")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(ours: Ours, rounds: int) -> dict[str, Any]:
    for _ in range(2):  # the first is without an update; the second makes the moments of Adam
        ours.step()
    job = ours.job
    tokens = job.live_teachers()(job.views(ours.batch), ours.batch.index, ours.batch.view)
    built = {name: build_weighting(name, len(tokens), 0, {}) for name in names("weightings")}
    for weighting in built.values():
        weighting.prepare(job.student.embed_dim)
    parts = {"weightings": {name: weighting_step(one, ours) for name, one in built.items() if not one.needs_gradients}}
    parts["standardizers"] = {
        name: standardizer_step(name, job.standardizer.dims, tokens) for name in names("standardizers")
    }
    parts["standardizers"]["phi_s, its first steps"] = standardizer_step(
        "phi_s", job.standardizer.dims, tokens, steps=1_000_000
    )
    spent, shares = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for number in range(rounds):
        step = cpu_seconds(ours.step)
        spent["step"].append(step)
        for own in parts.values():
            for name, run in sorted(own.items(), reverse=bool(number % 2)):
                spent[name].append(statistics.median(cpu_seconds(run) for _ in range(AGAIN)))
                shares[name].append(spent[name][-1] / step)
        for name, weighting in built.items():
            if weighting.needs_gradients:
                spent[name].append(with_gradients(ours, weighting) - step)
                shares[name].append(spent[name][-1] / step)

    def row(name: str) -> dict[str, Any]:
        ends = [round(end(shares[name]), 6) for end in (min, max)]
        return {
            "seconds": round(statistics.median(spent[name]), 5),
            "share_of_step": round(statistics.median(shares[name]), 6),
            "range": ends,
        }

    return {
        "step": statistics.median(spent["step"]),
        "weightings": {name: row(name) for name in built},
        "standardizers": {name: row(name) for name in parts["standardizers"]},
        "rounds": dict(spent),
    }


def names(package: str) -> list[str]:
    return [name for name in lookup.names(f"unic.{package}") if name != "base"]


def weighting_step(weighting: Weighting, ours: Ours) -> Callable[[], None]:
    """All that a step asks of a weighting, and the backward pass to the losses."""
    torch.manual_seed(0)
    size, index = len(ours.batch.index), ours.batch.index
    losses = torch.rand(weighting.num_teachers, size, requires_grad=True)
    pairs = Pairs(losses.detach(), 1, index, None, torch.randn(size, ours.job.student.embed_dim))

    def run() -> None:
        coefficients = weighting.coefficients(pairs)
        numerator, denominator = weighting.weighted_sums(losses, coefficients)
        numerator.backward()
        _ = denominator
        weighting.end_step(weighting.observe_unweighted(pairs, coefficients))

    return run


def standardizer_step(name: str, dims: Any, tokens: Any, **options: Any) -> Callable[[], None]:
    """Targets of all teachers' tokens, and the update of the statistics."""
    standardizer = build_standardizer(name, dims, options or ({"steps": 1} if name == "phi_s" else {})).train()

    def run() -> None:
        standardizer(tokens)
        standardizer.update(0.5)

    run()  # after its first step `phi_s` has its rotations
    return run


def with_gradients(ours: Ours, weighting: Weighting) -> float:
    """Seconds of a step with a weighting that needs gradients."""
    job = ours.job
    with ExitStack() as stack:
        stack.enter_context(patch.object(job, "weighting", weighting))
        stack.enter_context(patch.object(job.distiller, "measures_gradients", True))
        return cpu_seconds(ours.step)


if __name__ == "__main__":
    main()
