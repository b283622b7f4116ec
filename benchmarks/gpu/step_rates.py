"""`step.py` of a configuration: images a second against the textbook step and the measured matrix product.

Our step runs eagerly first, then through torch.compile, against one baseline. The answer of the first half is there
before the second begins, which may take longer than the part has.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import timm
import torch
from _part import Answer, main

import step  # isort: skip

from unic.encoders import Encoder


def part(options: argparse.Namespace) -> Answer:
    device = torch.device(options.device)
    timm.create_model = made_on(device, timm.create_model)
    Encoder.fingerprint = lambda self: "not computed"  # type: ignore[method-assign]  # would hash up to 7 GB of teachers
    if options.is_toy:  # the graphs are what a CPU can show; code for them takes minutes
        torch.compile = partial(torch.compile, backend="aot_eager")
    name, rounds = ("tiny", "1") if options.is_toy else (options.configuration, "3")
    asked = step.command_line().parse_args([name, "--device", options.device, "--rounds", rounds])
    chosen = step.CONFIGURATIONS[name]
    compared = step.comparisons(chosen, chosen.batch_on(device), device, asked, [False, True])
    lines, values = [], {}
    for half, found in zip(("eager", "compiled"), compared, strict=True):
        graphs = torch._dynamo.utils.counters["stats"].get("unique_graphs", 0)
        lines.append(f"{half} {described(found)}" + (f", {graphs} graphs" if graphs else ""))
        values[half] = found | {"graphs": graphs}
        options.write("; ".join(lines), values)
    product = values["eager"]["ceiling"]["product_flops"]["median"]
    lines.append(f"goal 3 × and 50 % of a product of {product / 1e12:.2f} TFLOP/s, moonshot 65 %")
    return "; ".join(lines), values


def made_on(device: torch.device, make_model: Callable[..., Any]) -> Callable[..., Any]:
    """`timm.create_model` with the weights drawn on the device: for a billion of them a CPU takes a minute."""

    def make(*arguments: Any, **settings: Any) -> Any:
        if device.type == "cuda":  # unic has seeded the CPU's generator, by the URI or the seed of the run
            torch.cuda.manual_seed(torch.initial_seed())
        with device:
            return make_model(*arguments, **settings)

    return make


def described(found: dict[str, Any]) -> str:
    ratio, share = found["ratio"]["median"], found["share_of_product"]["ours"]
    rate, peak = found["images_per_s"]["ours"]["median"], found["peak_gb"]
    return f"{rate:.0f} images/s, {ratio:.2f} × the textbook, {100 * share:.0f} % of a product, peak {peak:.1f} GB"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("configuration")
    main(part, parser)
