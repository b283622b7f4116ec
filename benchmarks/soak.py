"""Measures whether memory or file handles grow over thousands of small steps with saves and logs.

python benchmarks/soak.py --minutes 60

It prints the slope (least squares) of the resident memory ± its 95 % interval. The line goes through means of blocks,
because neighbouring samples are not independent. The first third is warm-up, in which allocators and caches fill.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _machine import machine
from PIL import Image
from rich.console import Console
from scipy import stats

from unic.recipe.schema import load_recipe
from unic.training.train import PreemptedError, fit

NUM_BLOCKS = 20
_EVERY = 0.1  # seconds between two samples


def make_images(folder: Path, count: int = 64) -> None:
    draw = np.random.default_rng(0)
    folder.mkdir()
    for index in range(count):
        pixels = draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")


def recipe(images: Path, workers: int) -> dict[str, Any]:
    return {
        "teachers": {
            "models": {
                "vit": "timm:test_vit?pretrained=false&img_size=32",
                "cnn": "timm:test_efficientnet?pretrained=false&img_size=32",
            }
        },
        "student": {"model": "timm:test_vit?pretrained=false&img_size=32"},
        "projector": {"type": "ladder", "hidden_dim": 8, "last_hidden_dim": 16},
        "data": {"train": str(images), "size": 32, "workers": workers},
        "train": {"steps": 10_000_000, "batch_size": 8, "precision": "fp32", "log_every": 10},
        "checkpoint": {"every": 100, "keep": 2, "asynchronous": True},
    }


class Samples(threading.Thread):
    """Time, resident bytes and open descriptors of this process and its children, ten times a second until the end.

    At the end it asks the process to stop, as a scheduler would. The table is allocated beforehand: a growing list of
    samples would itself be a slope (of 4 MB an hour).
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(daemon=True)
        self.seconds, self.table, self.count = seconds, np.full((round(seconds / _EVERY) + 1, 3), np.nan), 0
        self.start_time = time.monotonic()

    @property
    def rows(self) -> np.ndarray:
        return self.table[: self.count]

    def run(self) -> None:
        me = psutil.Process()
        while (now := time.monotonic() - self.start_time) < self.seconds:
            family = [me, *me.children(recursive=True)]
            memory = handles = 0
            for process in family:
                try:
                    memory += process.memory_info().rss
                    handles += process.num_fds()
                except psutil.Error:  # it has just ended
                    continue
            self.table[self.count] = now, memory, handles
            self.count += 1
            time.sleep(_EVERY)
        me.terminate()


def slope(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """The slope per hour and half of its 95 % interval, over the means of `NUM_BLOCKS` blocks."""
    blocks = [np.array_split(array, NUM_BLOCKS) for array in (times, values)]
    x, y = (np.array([block.mean() for block in kind]) for kind in blocks)
    fitted = stats.linregress(x / 3600, y)
    return float(fitted.slope), float(stats.t.ppf(0.975, NUM_BLOCKS - 2) * fitted.stderr)


def soak(minutes: float, workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        images, run = Path(place) / "images", Path(place) / "run"
        make_images(images)
        samples = Samples(minutes * 60)
        samples.start()
        with suppress(PreemptedError):
            fit(load_recipe(recipe(images, workers)), run, console=Console(quiet=True))
        samples.join()
        steps = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    rows = samples.rows
    steady = rows[len(rows) // 3 :]
    (memory, memory_half), (handles, handles_half) = (
        slope(steady[:, 0], steady[:, column] / unit) for column, unit in ((1, 1e6), (2, 1))
    )
    return {
        "minutes": minutes, "workers": workers, "steps": steps, "samples": len(steady),
        "memory_mb": float(steady[:, 1].mean() / 1e6), "memory_mb_per_hour": [memory, memory_half],
        "handles": [int(steady[:, 2].min()), int(steady[:, 2].max())], "handles_per_hour": [handles, handles_half],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    about = machine("torch", "unic-distill")
    found = soak(arguments.minutes, arguments.workers)
    print(f"{found['steps']} steps in {found['minutes']:g} minutes, {found['workers']} workers")
    for what, shown in (
        ("memory_mb", f"{found['memory_mb']:.1f} MB"),
        ("handles", "{} to {} handles".format(*found["handles"])),
    ):
        value, half = found[f"{what}_per_hour"]
        print(f"{shown}; slope {value:+.2f} ± {half:.2f} an hour")
    if arguments.out:
        arguments.out.write_text(json.dumps(about | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
