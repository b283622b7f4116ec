"""Images per second when data workers and a step share the cores: with all cores for the step, or those left over.

    python benchmarks/threads.py [--cores 2] [--workers 2] [--side 2000] [--steps 12] [--rounds 3] [--out FILE]

Whole commands (`unic distill`) take turns, each bound to the same cores. "all" is torch's default (`OMP_NUM_THREADS` is
the number of cores), "left" is unic's. The images are large PNGs made from samples, so that decoding takes about as
long as the step. Rates are those of `metrics.jsonl`, without the first step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine
from PIL import Image

from unic.data.sources import open_source

IMAGES = 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--side", type=int, default=2000, help="longer side of the PNGs")
    parser.add_argument("--steps", type=int, default=12, help="of 16 images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {"all": [], "left": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "images", options.side)
        (folder / "recipe.yaml").write_text(json.dumps(recipe(folder / "images", options)))  # JSON is YAML
        for turn in range(options.rounds):
            for kind in sorted(rates, reverse=bool(turn % 2)):
                rates[kind].append(train(folder, folder / f"{kind}-{turn}", kind, options.cores))
                print(f"round {turn + 1}, {kind}: {rates[kind][-1]:.1f} images/s", flush=True)
    found = {"machine": machine("torch", "pillow"), "options": {**vars(options), "out": None}, "images_per_s": rates}
    ratios = [left / every for every, left in zip(rates["all"], rates["left"], strict=True)]
    print(*(f"{kind}: {statistics.median(values):.1f} images/s" for kind, values in rates.items()), sep="\n")
    print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def write_images(folder: Path, side: int) -> None:
    """Writes enlarged samples with a little noise, as of a camera: PNGs of smooth pixels decode too quickly."""
    folder.mkdir()
    source, draw = open_source("samples/scenes/train.parquet"), np.random.default_rng(0)
    for index in range(IMAGES):
        image = source.read(index)
        pixels = np.asarray(image.resize((side, side * 3 // 4), Image.Resampling.BICUBIC), np.int16)
        pixels = pixels + draw.integers(-3, 4, pixels.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{index:03}.png")


def recipe(images: Path, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "teachers": {"models": {"vit": "timm:vit_small_patch16_224?pretrained=false"}},
        "student": {"model": "timm:vit_tiny_patch16_224?pretrained=false"},
        "projector": {"type": "ladder", "hidden_dim": 192, "last_hidden_dim": 768},
        "data": {"train": str(images), "size": 224, "workers": options.workers},
        "train": {"steps": options.steps, "batch_size": 16, "log_every": options.steps},
        "checkpoint": {"every": options.steps, "keep": 1},
    }


def train(folder: Path, run: Path, kind: str, cores: int) -> float:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment |= {"OMP_NUM_THREADS": str(cores)} if kind == "all" else {}
    subprocess.run(
        [sys.executable, "-m", "unic", "distill", folder / "recipe.yaml", "--out", run],
        env=environment, check=True, capture_output=True,
        preexec_fn=partial(os.sched_setaffinity, 0, sorted(os.sched_getaffinity(0))[:cores]),
    )  # fmt: skip
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return float(rows[-1]["images_per_s"])


if __name__ == "__main__":
    main()
