"""Times the linear probe: all heads at once, one after another, and one after another by torch.optim.SGD.

    python benchmarks/linear_heads.py [--classes 100] [--images 20000] [--dim 768] [--heads 8] [--streamed 1]

Random features; the three take turns in one run, and the fastest time of each is printed as a row of Markdown.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F

from unic.eval.probes import unit_vectors as _unit_vectors
from unic.eval.probes.linear_heads import Schedule, Setting, train_heads
from unic.eval.probes.unit_vectors import UnitVectors

DEFAULTS = {"classes": 100, "images": 20000, "dim": 768, "heads": 8, "epochs": 2, "rounds": 5, "streamed": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in {**DEFAULTS, "threads": torch.get_num_threads()}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    _unit_vectors._KEPT_ON_CPU *= not options.streamed
    draw = np.random.default_rng(0)
    y = draw.integers(0, options.classes, options.images)
    vectors = UnitVectors(draw.normal(size=(options.images, options.dim)).astype(np.float32))
    rows, schedule = np.arange(options.images), Schedule(options.epochs, 1024, seed=0)
    settings = [Setting(lr, 1e-6) for lr in np.geomspace(0.1, 100, options.heads).tolist()]
    ways = {
        "at once": lambda: train_heads(vectors, y, rows, options.classes, settings, schedule),
        "in turn": lambda: [train_heads(vectors, y, rows, options.classes, [one], schedule) for one in settings],
        "torch": lambda: [by_torch(vectors, torch.from_numpy(y), options.classes, one, schedule) for one in settings],
    }
    seconds = {name: float("inf") for name in ways}
    for name, way in [*ways.items()] * options.rounds:
        started = time.perf_counter()
        way()
        seconds[name] = min(seconds[name], time.perf_counter() - started)
    print(f"| {vars(options)} |", *(f"{name} {value:.2f} s |" for name, value in seconds.items()))


def by_torch(vectors: UnitVectors, y: torch.Tensor, classes: int, setting: Setting, schedule: Schedule) -> None:
    model = torch.nn.Linear(vectors.width, classes, bias=False)
    sgd = torch.optim.SGD(model.parameters(), setting.lr, momentum=0.9, weight_decay=setting.weight_decay)
    for pool in (pool for epoch in range(schedule.epochs) for pool in schedule.order(len(y), epoch)):
        for x, batch in zip(vectors.batches(pool), pool, strict=True):
            sgd.zero_grad()
            F.cross_entropy(model(x), y[batch]).backward()
            sgd.step()


if __name__ == "__main__":
    main()
