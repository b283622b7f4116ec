"""One training step of the protocol `dinov2` of segmentation and depth, at full size, and its shares.

    python benchmarks/dense_step.py [segmentation] [depth] [--model URI] [--steps 1] [--batch-size N]

Images are made, so reading files is not part of the step; the random view is. `seconds` are of the wall, `cpu_seconds`
of all threads of this process, which another load on the machine changes less. One image prepares the network for the
size of a crop before the first step.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import torch
from _machine import machine
from PIL import Image

from unic.data.sources.arrays import Arrays
from unic.encoders import load_encoder
from unic.eval.live import Live
from unic.eval.probes import live_head
from unic.eval.tasks import _depth_dinov2, _segmentation_dinov2

B14 = "timm:vit_base_patch14_dinov2?pretrained=false&img_size=518"
SIZE = (480, 640)


class Made(Arrays):
    """Noise of 480 × 640 pixels with 150 classes, or with depths."""

    def __init__(self, task: str) -> None:
        pixels, classes = np.zeros((64, 1, 1, 3), np.uint8), [str(number) for number in range(150)]
        super().__init__("made", pixels, np.zeros(64, np.int32), classes)
        self.pixels = "masks" if task == "segmentation" else "depth"

    def read(self, index: int) -> Image.Image:
        return Image.fromarray(np.random.default_rng(index).integers(0, 256, (*SIZE, 3), dtype=np.uint8))

    def target(self, index: int) -> np.ndarray:
        coarse = np.random.default_rng(index).integers(0, 150, (SIZE[0] // 40, SIZE[1] // 40), dtype=np.uint8)
        large = coarse.repeat(40, 0).repeat(40, 1)
        return large if self.pixels == "masks" else (0.5 + large / 20).astype(np.float32)


class _MeasuredError(Exception):
    """Ends a task before its test images."""


class Timer:
    """Seconds of the wall and of all threads, by part."""

    def __init__(self) -> None:
        self.found: dict[str, list[tuple[float, float]]] = defaultdict(list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.found[name].append((time.perf_counter() - wall, time.process_time() - cpu))


def measure(task: str, model: str, steps: int, batch_size: int | None) -> dict[str, object]:
    live, timer = Live(Made(task), load_encoder(model)), Timer()
    module = {"segmentation": _segmentation_dinov2, "depth": _depth_dinov2}[task]

    class Timed(Live):
        def tokens(self, images: torch.Tensor) -> object:  # type: ignore[override]
            with timer.part("backbone"):
                return super().tokens(images)

    def train(part: Live, head: live_head.LiveHead, batches: object, loss: object, schedule: object) -> object:
        views = iter(batches)  # type: ignore[call-overload]
        Live.tokens(part, next(views)[0][:1])
        for _ in range(steps):
            with timer.part("step"):
                with timer.part("views"):
                    batch = next(views)
                live_head.train(part, head, [batch], loss, schedule)  # type: ignore[arg-type]
        raise _MeasuredError

    module.train = train
    options = {"seed": 0, "steps": None, "batch_size": batch_size, "lr": None, "weight_decay": None, "crop": None}
    more = {"stride": None} if task == "segmentation" else {"gradient": None}
    bins = {} if task == "segmentation" else {"min_depth": 1e-3, "max_depth": 10.0, "num_bins": 256}
    timed = Timed(live.source, live.encoder)
    with suppress(_MeasuredError):
        module.run(timed, timed, **options, **more, **bins)
    means = {
        name: {
            "seconds": round(float(np.mean([wall for wall, _ in parts])), 2),
            "cpu_seconds": round(float(np.mean([cpu for _, cpu in parts])), 2),
        }
        for name, parts in timer.found.items()
    }
    return {
        "task": task,
        "model": model,
        "threads": torch.get_num_threads(),
        "precision": live.encoder.precision,
        **means,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=["segmentation", "depth"])
    parser.add_argument("--model", default=B14)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--batch-size", type=int)
    given = parser.parse_args()
    print(json.dumps(machine()))
    for task in given.tasks:
        print(json.dumps(measure(task, given.model, given.steps, given.batch_size)), flush=True)


if __name__ == "__main__":
    main()
