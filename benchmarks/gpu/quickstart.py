"""`recipes/quickstart.yaml` from its images to its report, every part of it on the device.

The ViT has random weights here. So the student is not that of the recipe, and no score is shown.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from _part import Answer, main
from _unic import is_on, read_lines, unic
from _vit import write_random_vit

FORMATS = ("onnx", "torch_export")
FILES = ("export/model.onnx", "export/model.pt2", "export/model.safetensors", "results.json", "report.html")
TOY = (
    *(f"data.train.{number}.limit=16" for number in range(5)),
    "train.steps=3", "train.batch_size=16", "train.log_every=1",
    "eval.suite={data: [clipart], tasks: {knn: {k: 5}}, max_train: 60, max_test: 40, seeds: [0]}",
)  # fmt: skip


def part(options: argparse.Namespace) -> Answer:
    run: Path = options.folder / "run"
    changes = [f"teachers.models.vit={write_random_vit(options.folder, 28 if options.is_toy else 112)}"]
    changes += TOY if options.is_toy else ["data.workers=8"]
    begun = time.perf_counter()
    unic(options, "distill", "recipes/quickstart.yaml", "--out", run, *changes)
    for form in FORMATS:
        unic(options, "export", run, "--format", form)
    seconds = time.perf_counter() - begun
    if missing := [name for name in FILES if not (run / name).exists()]:
        raise SystemExit(f"missing in the run: {', '.join(missing)}")
    if not is_on(options.device, run):
        raise SystemExit(f"it did not run on {options.device}")
    rate = statistics.median(row["images_per_s"] for row in read_lines(run / "metrics.jsonl") if "images_per_s" in row)
    return f"{seconds:.0f} s with table, report and exports; {rate:.0f} images/s", {"images_per_s": rate}


main(part)
