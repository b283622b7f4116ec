"""What each projector costs of a step, and what nested widths add to it.

    python benchmarks/projectors.py NAME [--batch-size 8] [--rounds 3] [--threads 1] [--out FILE]

NAME is one of CONFIGURATIONS of `step.py` with teachers as wide as the student. In each round teachers and student
(forward, backward and update) run once, and then every projector in turn on the same tokens of the student: forward
pass, loss, backward pass to these tokens, update. A projector costs what this takes longer than with `identity`, which
has no parameters. Seconds are those of the processor, so other programs disturb less.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from _machine import machine
from _timed import cpu_seconds
from step import CONFIGURATIONS, load_teachers

from unic.encoders import build_encoder, has_fast_bf16, place
from unic.encoders._attention import choose_attention
from unic.losses import build_losses
from unic.projectors import build_projector
from unic.recipe.sections import TrainSection
from unic.standardizers.ema import Standardizer
from unic.tokens import Tokens
from unic.training.distiller import Distiller
from unic.training.optimizer import build_optimizer, optimizer_step
from unic.training.teachers import LiveTeachers

LADDER = "ladder"  # what the others are compared with
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("identity", {}),
    "linear": ("linear", {}),
    "mlp": ("mlp", {}),
    "mlp, shared": ("mlp", {"shared": True}),
    "transformer": ("transformer", {}),
    LADDER: ("ladder", {}),
    "ladder, pre-norm": ("ladder", {"norm": "pre"}),
    "ladder, shared": ("ladder", {"shared": True}),
}
NESTED = ("mlp", LADDER)  # projectors that are also tried with two nested widths, a quarter and a half of the full one
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("configuration", choices=CONFIGURATIONS)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = {"machine": machine("torch", "timm"), "configuration": options.configuration}
    result |= {"batch_size": options.batch_size, "threads": options.threads}
    result |= measure(options.configuration, options.batch_size, options.rounds)
    for name, row in result["projectors"].items():
        print(f"{name}: {row}")
    for name in ("teachers", "student"):
        print(f"{name}: {result['seconds'][name]:.3g} s")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(configuration: str, batch_size: int, rounds: int) -> dict[str, Any]:
    chosen = CONFIGURATIONS[configuration]
    encoders = load_teachers(chosen, CPU)
    student = place(build_encoder(chosen.student), CPU)
    choose_attention(student, CPU)
    dims = {name: (encoder.embed_dim, encoder.patch_dim) for name, encoder in encoders.items()}
    images, index = torch.rand(batch_size, 3, chosen.size, chosen.size), torch.arange(batch_size)
    teachers, standardizer = LiveTeachers(encoders, student.grid), Standardizer(dims)
    targets = standardizer(teachers(images, index, index))
    updates, blocks = build_optimizer(student, TrainSection()), range(len(student.block_dims))
    tokens = [_leaf(rung) for rung in student.intermediates(images, blocks)]

    def student_step() -> None:
        rungs = student.intermediates(images, blocks)
        outputs = [x for rung in rungs for x in (rung.cls, rung.patches)]
        torch.autograd.backward(outputs, [torch.ones_like(x) for x in outputs])
        optimizer_step(updates, 1e-6, torch.tensor(1.0), None)

    def step_of(kind: str, settings: dict[str, Any], widths: list[int]) -> tuple[Callable[[], None], int]:
        rung_dims = list(student.block_dims)
        projectors = {name: build_projector(kind, rung_dims, dims[name], student.embed_dim, settings) for name in dims}
        choose_attention(student, CPU, projectors=projectors.values())
        losses = {name: build_losses({"cosine": 0.5, "smooth_l1": 0.5}, dims[name]) for name in dims}
        model = Distiller(student, projectors, losses, blocks, seed=0, bf16=has_fast_bf16(CPU), widths=widths)
        parameters = sum(parameter.numel() for parameter in model.projectors.parameters())
        optimizer = build_optimizer(model.projectors, TrainSection()) if parameters else None

        def step() -> None:
            with patch.object(student, "intermediates", lambda *_: tokens):
                model(images, targets, 1, index).losses.sum().backward()
            if optimizer:
                optimizer_step(optimizer, 1e-6, torch.tensor(1.0), None)

        return step, parameters

    nested = [student.embed_dim // 4, student.embed_dim // 2]
    made = {name: step_of(*variant, []) for name, variant in VARIANTS.items()}
    made |= {f"{name}, widths {nested}": step_of(*VARIANTS[name], nested) for name in NESTED}
    spent = defaultdict[str, list[float]](list)
    for number in range(rounds + 1):
        spent["teachers"].append(cpu_seconds(lambda: teachers(images, index, index)))
        spent["student"].append(cpu_seconds(student_step))
        for name, (step, _) in sorted(made.items(), reverse=bool(number % 2)):
            spent[name].append(cpu_seconds(step))
    spent = {name: values[1:] for name, values in spent.items()}  # a first step makes the moments of Adam
    medians = {name: statistics.median(values) for name, values in spent.items()}
    others = medians["teachers"] + medians["student"]
    rows = {}
    for name, (_, parameters) in made.items():
        own = medians[name] - medians["identity"]
        rows[name] = {
            "million_parameters": round(parameters / 1e6, 3),
            "seconds": round(own, 4),
            "share_of_step": round(own / (others + medians[name]), 3),
            "of_ladder": round(own / (medians[LADDER] - medians["identity"]), 3),
        }
    return {"seconds": medians, "projectors": rows, "rounds": spent}


def _leaf(tokens: Tokens) -> Tokens:
    """The same tokens, where a backward pass ends."""
    cls, patches = (x.detach().requires_grad_() for x in (tokens.cls, tokens.patches))
    return Tokens(cls, patches, tokens.grid)


if __name__ == "__main__":
    main()
