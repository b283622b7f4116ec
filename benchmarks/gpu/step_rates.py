"""`step.py` of a configuration: images a second against the textbook step and the measured matrix product."""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from functools import partial
from typing import Any

import timm
import torch
from _part import ROOT, Answer, main


def part(options: argparse.Namespace) -> Answer:
    make_model = timm.create_model

    def make_there(*arguments: Any, **settings: Any) -> Any:
        """Random weights of a billion parameters take a minute on a CPU."""
        with torch.device(options.device):
            return make_model(*arguments, **settings)

    timm.create_model = make_there
    if options.is_toy:  # the graphs are what a CPU can show; code for them takes minutes
        torch.compile = partial(torch.compile, backend="aot_eager")
    out = options.folder / "step.json"
    name = "tiny" if options.is_toy else options.configuration
    arguments = [name, "--device", options.device, "--rounds", "1" if options.is_toy else "3", "--out", str(out)]
    sys.argv = ["step.py", *arguments, *(["--compile"] if options.compile else [])]
    runpy.run_path(str(ROOT / "benchmarks/step.py"), run_name="__main__")
    found = json.loads(out.read_text())
    ratio, share = found["ratio"]["median"], found["share_of_product"]["ours"]
    rate, product = found["images_per_s"]["ours"]["median"], found["ceiling"]["product_flops"]["median"]
    graphs = torch._dynamo.utils.counters["stats"].get("unique_graphs", 0)
    line = (
        f"{rate:.0f} images/s, {ratio:.2f} × the textbook (goal 3), {100 * share:.0f} % of a product of "
        f"{product / 1e12:.2f} TFLOP/s (goal 50, moonshot 65), peak {found['peak_gb']:.1f} GB"
    )
    return line + (f", {graphs} graphs" if options.compile else ""), {"step": found, "graphs": graphs}


parser = argparse.ArgumentParser()
parser.add_argument("configuration")
parser.add_argument("--compile", action="store_true")
main(part, parser)
