"""Seconds from the start of a process: `unic --help`, `import unic`, and the first step of a tiny recipe.

    python benchmarks/startup.py [--repeats 7] [--out FILE]

Every repeat starts a fresh interpreter, the one that runs this file; after a first, uncounted round files are in the
page cache. The commands take turns, with an empty interpreter for comparison. "First step" is from the start of `unic
distill` to the line of step 1 in its `metrics.jsonl`, with timm's test models at random weights: imports, checks, the
trial batch, one step. Prints a table, `--out` writes JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from _machine import machine
from PIL import Image

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import unic": ["-c", "import unic"],
    "import torch": ["-c", "import torch"],
    "unic --help": ["-m", "unic", "--help"],
}
FIRST_STEP = "unic distill, first step"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine("torch", "timm", "typer"), "seconds": {}}
    times: dict[str, list[float]] = {name: [] for name in (*COMMANDS, FIRST_STEP)}
    with tempfile.TemporaryDirectory() as folder:
        recipe = write_recipe(Path(folder))
        for repeat in range(options.repeats + 1):
            for name, arguments in COMMANDS.items():
                times[name].append(whole_process(arguments))
            times[FIRST_STEP].append(first_step(recipe, Path(folder) / f"run-{repeat}"))
    print("| | median s | range s |", "|---|---|---|", sep="\n")
    for name, (_, *seconds) in times.items():
        print(f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f}–{max(seconds):.2f} |")
        results["seconds"][name] = seconds
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


def whole_process(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def first_step(recipe: Path, out: Path) -> float:
    """Seconds until the first line of `metrics.jsonl`; then ends the process."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "unic", "distill", str(recipe), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    metrics = out / "metrics.jsonl"
    try:
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None:
                assert process.stderr is not None
                raise RuntimeError(process.stderr.read().decode())
            time.sleep(0.002)
        return time.perf_counter() - started
    finally:
        process.kill()
        process.communicate()


def write_recipe(folder: Path) -> Path:
    draw = np.random.default_rng(0)
    (folder / "images").mkdir()
    for index in range(16):
        Image.fromarray(draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"images/{index}.png")
    recipe = {
        "teachers": {"models": {"vit": "timm:test_vit?pretrained=false&img_size=32"}},
        "student": {"model": "timm:test_vit?pretrained=false&img_size=32"},
        "data": {"train": str(folder / "images"), "size": 32, "workers": 0},
        "train": {"steps": 1000, "batch_size": 8, "log_every": 1000},
        "trackers": {},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yaml"


if __name__ == "__main__":
    main()
