"""A step never waits for the device: nothing of it is read by the host before a log step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from unic.config import load_recipe
from unic.distill.build import build
from unic.distill.optimizer import optimizer_step
from unic.distill.teachers import LiveTeachers

READS = ("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__")


def step_of(recipe: dict[str, Any], device: str) -> Callable[[], None]:
    """One whole step on the device, from the augmented images on."""
    recipe["train"] |= {"clip_grad": 1.0, "patch_share": 0.5}
    job = build(load_recipe(recipe), torch.device(device))
    teachers = LiveTeachers(job.encoders, job.grid)
    job.distiller.train()
    images, index = torch.rand(8, 3, 32, 32, device=device), torch.arange(8, device=device)

    def step() -> None:
        losses = job.distiller(images, job.standardizer(teachers(images, index, index)), 1, index).losses
        numerator, denominator = job.weighting.sums(losses, job.weighting.coefficients(losses, 1, index))
        numerator.backward()
        optimizer_step(job.optimizer, 1e-3, denominator, job.recipe.train.clip_grad)
        job.standardizer.update(0.5)

    return step


def test_nothing_reads_a_tensor(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    step = step_of(recipe, "cpu")

    def refuse(self: Tensor, *arguments: object) -> None:
        raise AssertionError("a tensor was read by the host")

    for name in READS:
        monkeypatch.setattr(Tensor, name, refuse)
    with pytest.raises(AssertionError, match="read by the host"):
        torch.ones(()).item()
    step()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nothing_waits_for_the_gpu(recipe: dict[str, Any]) -> None:
    step = step_of(recipe, "cuda")
    step()  # the first one fills caches
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
