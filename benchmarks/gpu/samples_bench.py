"""The first steps of `recipes/samples-bench.yaml` from its teacher cache, and the minutes of its training at that rate.

The ViT has random weights here, which costs the same. The evaluation at its end is not in the estimate.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from _part import Answer, main
from _unic import is_on, read_lines, unic
from _vit import write_random_vit

from unic.data.image_list import ImageList
from unic.recipe.schema import load_recipe

STEPS = 200


def part(options: argparse.Namespace) -> Answer:
    run: Path = options.folder / "run"
    changes = [
        f"teachers.models.vit={write_random_vit(options.folder, 28 if options.is_toy else 112)}",
        "eval.suite=null",
        "stages=[]",
    ]
    if options.is_toy:
        changes += [f"data.train.{number}.limit=16" for number in range(7)]
        changes += ["train.steps=3", "train.batch_size=16", "train.log_every=1"]
    else:
        changes += [f"train.steps={STEPS}", "data.workers=8"]
    begun = time.perf_counter()
    unic(options, "distill", "recipes/samples-bench.yaml", "--out", run, *changes)
    seconds = time.perf_counter() - begun
    if not is_on(options.device, run):
        raise SystemExit(f"it did not run on {options.device}")
    rates = [row["images_per_s"] for row in read_lines(run / "metrics.jsonl") if "images_per_s" in row]
    rate, minutes = statistics.median(rates), 0.0
    for plan in load_recipe("recipes/samples-bench.yaml").plans():
        images = ImageList.from_config(plan.data.train, plan.data.max_pixels, plan.data.holdout)
        minutes += plan.train.epochs * images.epoch_length() / rate / 60
    line = f"{seconds:.0f} s for the cache and some steps, {rate:.0f} images/s: {minutes:.1f} minutes for all epochs"
    return line, {"images_per_s": rate, "minutes": minutes}


main(part)
