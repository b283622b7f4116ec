"""Training views, in images per second and core: unic's loader against Pillow + torchvision on the CPU (METHOD.md §6).

    python benchmarks/loader.py [--images 128] [--rounds 5] [--side 500] [--size 224] [--drawn 128] [--out FILE]

The JPEGs (quality 90) are mosaics of sample images, so that they hold the detail of photographs instead of enlarged
pixels. Both sides read the same files on one thread, in batches of 64, and take turns (A B C A B C …) after a warm-up.
Times are processor times, which on a shared machine equal the time on a core of one's own. Ours is the work of a data
worker (read, decode, crop, as uint8). The rest of the view runs once per batch on the device; it is measured separately
on this CPU, and by the clock on the GPU if there is one. A second table has the families of generated images, as a
worker draws them, at `--drawn` pixels. Prints the tables, `--out` writes JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _machine import machine
from PIL import Image
from torchvision.transforms import v2

from unic import lookup
from unic.data.augment import preset
from unic.data.batch import Batch
from unic.data.image_list import ImageList
from unic.data.loader import training_batches
from unic.data.sources import open_source

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=2 * BATCH, help="a multiple of 64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=500, help="longer side of the JPEGs")
    parser.add_argument("--size", type=int, default=224, help="side of the views")
    parser.add_argument("--drawn", type=int, default=128, help="side of the generated images")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"machine": machine("torch", "torchvision", "pillow")}
    results["options"] = {key: value for key, value in vars(options).items() if key != "out"}
    with tempfile.TemporaryDirectory() as folder:
        results["bits_per_pixel"] = write_mosaics(Path(folder), options.images, options.side)
        results["seconds"] = measure(Path(folder), options)
    results["generated"] = measure_families(options)
    print_table(results)
    print_families(results)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1, default=str) + "\n")


def write_mosaics(folder: Path, count: int, side: int) -> float:
    """Writes mosaics, half of them upright.

    Returns:
        Bits per pixel, which decide the time of decoding (photographs: 1.5 to 2.5).
    """
    sources = [open_source(f"samples/{name}/train.parquet") for name in ("scenes", "clipart")]
    draw, total = np.random.default_rng(0), 0
    for number in range(count):
        size = (side, side * 3 // 4) if number % 2 else (side * 3 // 4, side)
        mosaic = Image.new("RGB", size)
        for left in range(0, size[0], 128):
            for top in range(0, size[1], 128):
                source = sources[draw.integers(2)]
                mosaic.paste(source.read(int(draw.integers(len(source)))), (left, top))
        mosaic.save(folder / f"{number:05}.jpg", quality=90)
        total += (folder / f"{number:05}.jpg").stat().st_size
    return total * 8 / (count * side * (side * 3 // 4))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds per image, a value for each round."""
    view, files = preset("unic"), sorted(folder.iterdir())
    images = ImageList([open_source(str(folder))])
    chain = textbook(options.size)
    batches: list[Batch] = []

    def plain() -> None:
        for start in range(0, len(files), BATCH):
            torch.stack([chain(Image.open(file).convert("RGB")) for file in files[start : start + BATCH]])

    def worker() -> None:
        batches[:] = training_batches(
            images, size=options.size, augment="unic", seed=0, batch_size=BATCH, first_step=1,
            num_steps=len(files) // BATCH,
        )  # fmt: skip

    def device(name: str) -> None:
        for batch in batches:
            view(batch.images.to(name, non_blocking=True), 0, batch.view, batch.index)
        if name == "cuda":
            torch.cuda.synchronize()

    sides: dict[str, tuple[Callable[[], None], Callable[[], float]]] = {
        "textbook": (plain, time.process_time),
        "worker": (worker, time.process_time),
        "cpu": (lambda: device("cpu"), time.process_time),
    }
    if torch.cuda.is_available():
        sides["cuda"] = (lambda: device("cuda"), time.perf_counter)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds + 1):
        for name, (run, clock) in sides.items():
            started = clock()
            run()
            seconds[name].append((clock() - started) / len(files))
    return {name: values[1:] for name, values in seconds.items()}  # without the warm-up


def measure_families(options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds per image of each family of generated images, a value for each round; families take turns."""
    paths = {
        name: f"generated:{name}?images={BATCH}&size={options.drawn}" for name in lookup.names("unic.data.generated")
    }
    sources = {name: open_source(path) for name, path in paths.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    for _ in range(options.rounds + 1):
        for name, source in sources.items():
            started = time.process_time()
            for index in range(BATCH):
                source.read(index)
            seconds[name].append((time.process_time() - started) / BATCH)
    return {name: values[1:] for name, values in seconds.items()}  # without the warm-up


def textbook(size: int) -> v2.Compose:
    """The views of METHOD.md §6 with torchvision alone: on Pillow images, then on tensors of floats."""
    return v2.Compose([
        v2.RandomResizedCrop(size, scale=(0.08, 1), interpolation=v2.InterpolationMode.BICUBIC),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.RandomApply([v2.GaussianBlur(9, (0.1, 5.0))], 0.2),
        v2.RandomSolarize(0.5, 0.2),
    ])  # fmt: skip


def print_table(results: dict[str, Any]) -> None:
    seconds, options = results["seconds"], results["options"]
    both = [one + other for one, other in zip(seconds["worker"], seconds["cpu"], strict=True)]
    rows = {"Pillow + torchvision": seconds["textbook"], "unic, worker": seconds["worker"]}
    rows |= {"unic, device part on this CPU": seconds["cpu"], "unic, both on this CPU": both}
    if "cuda" in seconds:
        rows["unic, device part on the GPU (by the clock)"] = seconds["cuda"]
    print(f"{options['images']} JPEGs of {options['side']} px, {results['bits_per_pixel']:.1f} bits a pixel\n")
    print("| what | ms an image | images/s a core | ratio (range) |", "|---|---|---|---|", sep="\n")
    results["ratios"] = {}
    for name, times in rows.items():
        ratios = sorted(one / other for one, other in zip(seconds["textbook"], times, strict=True))
        results["ratios"][name] = ratios
        middle = statistics.median(times)
        print(
            f"| {name} | {middle * 1e3:.2f} | {1 / middle:.0f} | "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) |"
        )


def print_families(results: dict[str, Any]) -> None:
    print(f"\ngenerated images of {results['options']['drawn']} px\n")
    print("| family | ms an image | images/s a core |", "|---|---|---|", sep="\n")
    for name, times in results["generated"].items():
        middle = statistics.median(times)
        print(f"| {name} | {middle * 1e3:.2f} | {1 / middle:.0f} |")


if __name__ == "__main__":
    main()
