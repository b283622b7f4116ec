"""A step never waits for the device: nothing of it is read by the host before a log step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from unic.data.batch import Batch
from unic.recipe.schema import load_recipe
from unic.training.build import build
from unic.training.optimizer import optimizer_step
from unic.training.step import batch_loss
from unic.training.window import Window

READS = ("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__")


def step_of(recipe: dict[str, Any], device: str) -> Callable[[], None]:
    """One whole step, from the decoded images to the update."""
    recipe["train"] |= {"clip_grad": 1.0, "patch_share": 0.5}
    job = build(load_recipe(recipe), torch.device(device))
    teachers, accelerator = job.live_teachers(), Accelerator(cpu=device == "cpu")
    job.distiller.train()
    keys = torch.arange(8)
    batch = Batch(torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8), keys, keys)

    def step() -> None:
        window = Window(accelerator)
        loss = batch_loss(job, teachers, batch, step=1)
        loss.numerator.backward()
        window.add(loss, job.weighting.observe(loss.pairs, loss.weights))
        window.reduce()
        optimizer_step(job.optimizer, 1e-3, window.denominator, job.recipe.train.clip_grad)
        job.standardizer.update(0.5)
        job.weighting.end_step(window.observed)
        job.loss_states.end_step([job.loss_states.seen(loss.targets)], len(batch), accelerator)

    return step


LOSSES = {"relational": 1.0, "queue_kl": {"length": 16}, "balanced_summary": 1.0, "shift_equivariant": 1.0}


@pytest.mark.parametrize(
    "change", [{"weighting": {"type": "teacher_dropping"}}, {"weighting": {"type": "gradnorm"}}, {"loss": LOSSES}]
)
def test_nothing_reads_a_tensor(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch, change: dict[str, dict[str, Any]]
) -> None:
    step = step_of(recipe | change, "cpu")

    def refuse(self: Tensor, *arguments: object) -> None:
        raise AssertionError("a tensor was read by the host")

    for name in READS:
        monkeypatch.setattr(Tensor, name, refuse)
    with pytest.raises(AssertionError, match="read by the host"):
        torch.ones(()).item()
    step()


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "change", [{}, {"loss": LOSSES}, {"weighting": {"type": "teacher_dropping", "level": "batch"}}]
)
def test_nothing_waits_for_the_gpu(recipe: dict[str, Any], change: dict[str, dict[str, Any]]) -> None:
    step = step_of(recipe | change, "cuda")
    step()  # the first one fills caches
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
