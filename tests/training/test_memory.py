"""The bytes that a run is said to need, against those that torch holds and those that lie on the disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from unic.recipe.schema import load_recipe
from unic.training import memory
from unic.training.advice import checkpoint_bytes
from unic.training.build import build
from unic.training.train import fit

CPU = torch.device("cpu")


def job(engine: str = "ddp", world_size: int = 1, **encoders: nn.Module) -> Any:
    """620 trained parameters, and 31 that are frozen."""
    distiller = nn.Sequential(nn.Linear(30, 20), nn.Linear(30, 1).requires_grad_(False))
    recipe = SimpleNamespace(train=SimpleNamespace(engine=engine))
    return SimpleNamespace(recipe=recipe, world_size=world_size, distiller=distiller, encoders=encoders)


def test_a_trained_parameter_takes_what_adam_holds_of_it() -> None:
    found = job()
    layer = found.distiller[0]
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 30)).sum().backward()
    optimizer.step()
    held = [tensor for parameter in layer.parameters() for tensor in (parameter, parameter.grad)]
    held += [state[moment] for state in optimizer.state.values() for moment in ("exp_avg", "exp_avg_sq")]
    assert memory.model_bytes(found) == sum(tensor.nbytes for tensor in held) == 620 * 16


def test_in_shards_a_process_holds_moments_of_its_own_part_alone() -> None:
    """While a batch is tried: parameters and gradients, 4 bytes each."""
    assert memory.model_bytes(job("fsdp", 2)) == 620 * 8
    assert memory.model_bytes(job("fsdp", 1)) == 620 * 16


def test_a_teacher_takes_its_weights() -> None:
    """5 · 2 + 2 of 4 bytes, 7 · 3 + 3 of 2 bytes."""
    teachers = {"a": nn.Linear(5, 2), "b": nn.Linear(7, 3).bfloat16()}
    assert memory.model_bytes(job(**teachers)) == 620 * 16 + 12 * 4 + 24 * 2


def test_saved_bytes_are_those_of_the_tensors_that_a_backward_pass_reads() -> None:
    """Of exp its result; of a norm its input and, for each row, mean and deviation. Its weights are there anyway."""
    x = torch.ones(10, requires_grad=True)
    saved = memory.SavedBytes()
    with saved:
        x.exp()
    assert saved.total == 10 * 4
    with saved:
        nn.LayerNorm(30)(torch.ones(7, 30))
    assert saved.total == 10 * 4 + (7 * 30 + 7 + 7) * 4
    linear = memory.SavedBytes()
    with linear:  # its input and no weight, which is kept as a transposed view
        nn.Linear(30, 20)(torch.ones(7, 30))
    assert linear.total == 7 * 30 * 4


@pytest.mark.parametrize(("available", "expected"), [(20_000, 80), (20_001, 80), (20_113, 81), (11_022, -1)])
def test_the_largest_batch_leaves_a_tenth_of_the_memory_free(available: int, expected: int) -> None:
    """0.9 · 20,000 = 18,000 bytes, less 9,920 for the model, are 80 times 101; 8,181.7 are 81 times."""
    assert memory.largest_batch(job(), 101.0, available) == expected


def test_checkpoints_take_what_lies_on_the_disk(recipe: dict[str, Any], tmp_path: Path) -> None:
    """A parameter and its two moments; beside those that are kept (2), and the best one, there is one being written."""
    settings = load_recipe(recipe, ["trackers=[]", "checkpoint.every=2", "train.steps=4"])
    one, together = checkpoint_bytes(build(settings, CPU))
    fit(settings, tmp_path / "run", console=Console(quiet=True))
    folders = [path for path in (tmp_path / "run/checkpoints").iterdir() if path.is_dir() and not path.is_symlink()]
    sizes = [sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) for folder in folders]
    assert sizes == [pytest.approx(one, rel=0.05)] * 2
    assert together == 3 * one
    best = load_recipe(recipe, ["checkpoint.best=knn/mean", "checkpoint.keep=5"])
    assert checkpoint_bytes(build(best, CPU)) == (one, 7 * one)
