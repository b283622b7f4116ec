"""What each loss costs of a step: forward and backward pass to the projector's output, and the update of its state.

    python benchmarks/losses.py [--batch-size 8] [--rounds 5] [--out FILE]

Four teachers as wide as a ViT-B, 14 x 14 patches. The step is that of `results/projectors-unic-b.json`, measured by
`projectors.py` with a batch of 8 and the ladder: teachers, student, projectors. Seconds are those of the processor, so
other programs disturb less. Views that are moved (`shift_equivariant`) are measured by themselves.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _machine import machine
from _timed import cpu_seconds

from unic.losses import build_losses
from unic.training.shift import Shift

TEACHERS, WIDTH, SIZE, PATCH = 4, 768, 224, 16
SIDE = SIZE // PATCH
STEP = Path(__file__).parent / "results/projectors-unic-b.json"
LOSSES: dict[str, dict[str, Any]] = {
    "cosine and smooth_l1": {"cosine": 0.5, "smooth_l1": 0.5},
    "mse": {"mse": 1.0},
    "relational": {"relational": 1.0},
    "queue_kl": {"queue_kl": 1.0},
    "balanced_summary": {"balanced_summary": 1.0},
    "shift_equivariant": {"shift_equivariant": 1.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    measured = json.loads(STEP.read_text())
    step = sum(measured["seconds"][part] for part in ("teachers", "student", "ladder"))
    step *= options.batch_size / measured["batch_size"]
    result: dict[str, Any] = {"machine": machine("torch"), "batch_size": options.batch_size, "step": step, "losses": {}}
    for name, run in runs(options.batch_size).items():
        run()
        seconds = statistics.median(cpu_seconds(run) for _ in range(options.rounds))
        result["losses"][name] = {"seconds": round(seconds, 4), "share_of_step": round(seconds / step, 4)}
        print(f"{name}: {result['losses'][name]}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def runs(batch: int) -> dict[str, Callable[[], None]]:
    """One step of each loss, of all teachers."""
    torch.manual_seed(0)
    shapes = {"cls": (batch, WIDTH), "patch": (batch, SIDE * SIDE, WIDTH)}
    predictions = {kind: torch.randn(shape, requires_grad=True) for kind, shape in shapes.items()}
    targets = {kind: torch.randn(shape) for kind, shape in shapes.items()}

    def of(settings: dict[str, Any]) -> Callable[[], None]:
        built = [build_losses(settings, (WIDTH, WIDTH)) for _ in range(TEACHERS)]
        for losses in built:
            for _, loss in losses.values():
                loss.end_step(torch.randn(8192, WIDTH))  # fills queues

        def run() -> None:
            for losses in built:
                for weight, loss in losses.values():
                    for kind in loss.kinds:
                        (weight * loss(predictions[kind], targets[kind])).sum().backward()
                    if loss.state_dict():
                        loss.end_step(targets["cls"])

        return run

    shift = Shift.of(1, {(SIZE, SIZE): (SIDE, SIDE)}, seed=0)
    images, index = torch.rand(batch, 3, SIZE, SIZE), torch.arange(batch)

    def move() -> None:
        assert shift is not None
        offsets = shift.offsets(1, index)
        shift.moved(images, offsets, (SIZE, SIZE))
        own, view, _ = shift.common((SIDE, SIDE), offsets)
        for chosen in [own, *[view] * TEACHERS]:  # the student's tokens of one block, and the targets
            torch.take_along_dim(targets["patch"], chosen[:, :, None], dim=1)

    return {name: of(settings) for name, settings in LOSSES.items()} | {"moved views": move}


if __name__ == "__main__":
    main()
