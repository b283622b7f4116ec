"""Extraction and the probes of the quick suite on the device, with the scores that a CPU has measured beside them.

Lite0 and the text recogniser have their own weights (in float16), so their scores are those of
`benchmarks/results/quickstart.json` up to rounding.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from _part import ROOT, Answer, main
from _unic import unic

MODELS = {"lite0": "packaged:efficientnet_lite0?size=128", "ocr": "packaged:ppocr_v4_rec?size=48x64"}
BESIDE = ROOT / "benchmarks/results/quickstart.json"


def part(options: argparse.Namespace) -> Answer:
    out: Path = options.folder / "results.json"
    given = [f"{name}={uri}" for name, uri in MODELS.items()]
    suite: list[object] = ["--suite", "quick"]
    if options.is_toy:
        suite = ["--suite", toy_suite(options.folder)]
    begun = time.perf_counter()
    unic(options, "eval", *given, *suite, "--workers", 0 if options.is_toy else 8, "--out", out)
    seconds = time.perf_counter() - begun
    found = json.loads(out.read_text())
    images = len(MODELS) * sum(part["train"] + part["test"] for part in found["protocol"]["counts"].values())
    scores = {row: {name: cells[name]["score"] for name in MODELS} for row, cells in found["tasks"].items()}
    line = f"{images} images and {len(MODELS) * len(scores)} cells in {seconds:.0f} s"
    values = {"seconds": seconds, "images": images, "scores": scores}
    if options.is_toy or not BESIDE.exists():
        return line, values
    there = json.loads(BESIDE.read_text())["tasks"]
    differences = [
        abs(score - there[row][name]["score"]) for row, cells in scores.items() for name, score in cells.items()
    ]
    return f"{line}; scores within {max(differences):.2f} points of the CPU's", values | {"differences": differences}


def toy_suite(folder: Path) -> Path:
    file = folder / "suite.yaml"
    file.write_text(
        "data: [clipart]\ntasks: {knn: {k: 5}, logistic: {C: 0.01}}\nmax_train: 60\nmax_test: 40\nseeds: [0]\n"
    )
    return file


main(part)
