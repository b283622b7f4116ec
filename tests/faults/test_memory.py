"""Out of memory: one line that names the batch size that would fit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic.errors import StoppedError
from unic.recipe.schema import load_recipe
from unic.training import memory
from unic.training.build import build
from unic.training.teachers import LiveTeachers
from unic.training.train import fit

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory."), MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:113] DefaultCPUAllocator: can't allocate memory: you tried …"),
]  # fmt: skip

FailsAt = Callable[[int, Exception], None]
Patch = pytest.MonkeyPatch


@pytest.fixture
def fails_at(monkeypatch: Patch) -> FailsAt:
    """Batches larger than `size` images do not fit, from the third call of the teachers on."""

    def install(size: int, error: Exception) -> None:
        original, calls = LiveTeachers.__call__, [0]

        def call(self: LiveTeachers, images: torch.Tensor, *keys: Any) -> Any:
            calls[0] += 1
            if len(images) > size and calls[0] > 2:
                raise error
            return original(self, images, *keys)

        monkeypatch.setattr(LiveTeachers, "__call__", call)

    return install


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_size_that_fits_is_named_and_fits(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: Patch, fails_at: FailsAt, error: Exception
) -> None:
    room_for(3.5, recipe, monkeypatch)
    fails_at(3, error)
    with pytest.raises(StoppedError) as caught:
        fit(load_recipe(recipe, ["trackers=[]"]), tmp_path / "run", console=Console(quiet=True))
    assert re.match("out of memory with 8 images.* 2 .*train.micro_batches=4 .*train.batch_size=2 ", str(caught.value))
    change = re.search(r"train\.micro_batches=\d+", str(caught.value))
    assert change
    fit(load_recipe(recipe, [change[0], "trackers=[]"]), tmp_path / "again", console=Console(quiet=True))


def room_for(num_images: float, recipe: dict[str, Any], monkeypatch: Patch) -> None:
    job = build(load_recipe(recipe), torch.device("cpu"))
    images, index = torch.zeros(4, 3, 32, 32), torch.arange(4)
    targets = job.standardizer.eval()(LiveTeachers(job.encoders, job.grid)(images, index, index))
    job.distiller.train()
    saved = memory.SavedBytes()
    with saved:
        job.distiller(images, targets, 1, index)
    size = memory.model_bytes(job) + num_images * saved.total / 4
    monkeypatch.setattr(memory, "room", lambda job: int(size / 0.9))


def test_a_batch_that_cannot_be_split_is_made_smaller(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: Patch, fails_at: FailsAt
) -> None:
    recipe["weighting"] = {"type": "teacher_dropping", "level": "batch"}
    room_for(3.5, recipe, monkeypatch)
    fails_at(3, MemoryError())
    with pytest.raises(StoppedError) as caught:
        fit(load_recipe(recipe), tmp_path / "run", console=Console(quiet=True))
    assert re.match("out of memory with 8 images.* 2 .*train.batch_size=2$", str(caught.value))
    assert "micro_batches" not in str(caught.value)


@pytest.mark.parametrize("tokens", ["all", "cls"])
def test_what_fits_is_measured_without_the_cached_teachers(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: Patch, tokens: str
) -> None:
    recipe["teachers"]["cache"] = {"tokens": tokens, "dir": str(tmp_path)}
    job = build(load_recipe(recipe), torch.device("cpu"))
    monkeypatch.setattr(LiveTeachers, "__call__", lambda *_: 1 / 0)
    monkeypatch.setattr(memory, "room", lambda job: 1 << 40)
    assert memory._measured(job) > 1000  # if it could not be measured: half of a batch, 4


def test_models_that_do_not_fit(recipe: dict[str, Any], tmp_path: Path, monkeypatch: Patch, fails_at: FailsAt) -> None:
    monkeypatch.setattr(memory, "room", lambda job: 1000)
    fails_at(4, MemoryError())
    with pytest.raises(StoppedError, match="not even one"):
        fit(load_recipe(recipe), tmp_path / "run", console=Console(quiet=True))


def test_other_errors_stay_what_they_are(recipe: dict[str, Any], tmp_path: Path, fails_at: Any) -> None:
    fails_at(0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        fit(load_recipe(recipe), tmp_path / "run", console=Console(quiet=True))


@pytest.mark.parametrize(
    ("batch", "largest", "fits", "parts"), [(8, 8, 8, 1), (8, 7, 4, 2), (8, 3, 3, 3), (12, 5, 4, 3), (7, 6, 4, 2)]
)
def test_parts(recipe: dict[str, Any], batch: int, largest: int, fits: int, parts: int) -> None:
    job = build(load_recipe(recipe, [f"train.batch_size={batch}"]), torch.device("cpu"))
    line = rf"{fits} .*train\.micro_batches={parts} .*train\.batch_size={batch // parts} "
    assert re.match(line, memory.what_fits(job, largest))


@pytest.mark.parametrize(
    ("changes", "world_size", "largest", "advised"),
    [
        (["train.batch_size=10", "train.micro_batches=3"], 1, 1, "train.batch_size=3"),
        (["train.batch_size=20"], 8, 1, "train.batch_size=8"),
        (["train.batch_size=6", "weighting.level=batch"], 4, 1, "train.batch_size=4"),
    ],
)
def test_what_is_advised_can_be_shared(
    recipe: dict[str, Any], changes: list[str], world_size: int, largest: int, advised: str
) -> None:
    job = build(load_recipe(recipe, changes), torch.device("cpu"), world_size)
    assert re.fullmatch(f"1 .*{advised}", line := memory.what_fits(job, largest))
    assert "micro_batches" not in line
    smaller = build(load_recipe(recipe, [*changes, advised]), torch.device("cpu"), world_size)
    assert smaller.images_at_a_time <= largest


def test_models_that_are_loaded_are_not_counted_twice(recipe: dict[str, Any], monkeypatch: Patch) -> None:
    job = build(load_recipe(recipe), torch.device("cpu"))
    monkeypatch.setattr(memory, "available_bytes", lambda device: 0)
    weights = sum(p.numel() * 4 for module in (job.distiller, *job.encoders.values()) for p in module.parameters())
    assert weights <= memory.room(job) < 1.1 * weights  # and statistics


def test_parts_are_not_the_same_for_batch_norms(recipe: dict[str, Any]) -> None:
    recipe["student"]["model"] = "timm:test_efficientnet?pretrained=false&img_size=64"
    job = build(load_recipe(recipe, ["data.size=64"]), torch.device("cpu"))
    assert "batch norms" in memory.what_fits(job, 4)


@pytest.mark.parametrize("change", [{}, {"data.sizes": [32, 48], "data.size": 48}])
def test_what_fits_is_measured_for_the_largest_views_and_alone(
    recipe: dict[str, Any], monkeypatch: Patch, change: dict[str, Any]
) -> None:
    """A weighting may ask the other processes, which do not know that this one has run out of memory."""
    recipe["teachers"]["models"] = {"cnn": "timm:resnet10t?pretrained=false"}
    job = build(load_recipe(recipe, [f"{key}={value}" for key, value in change.items()]), torch.device("cpu"))
    monkeypatch.setattr(type(job.weighting), "coefficients", lambda *_: 1 / 0)
    monkeypatch.setattr(memory, "room", lambda job: 1 << 40)
    assert memory._measured(job) > 1000  # if it could not be measured: half of a batch, 4


@pytest.mark.skipif(sys.platform != "linux" or not os.confstr("CS_GNU_LIBC_VERSION"), reason="of glibc")
def test_memory_that_torch_has_freed_counts_as_available() -> None:
    """It is with the process until somebody asks."""
    program = """
import psutil, torch
from unic.training.memory import available_bytes
from unic.encoders import load_encoder
load_encoder("pixels:8")
blocks = [torch.ones(5_000_000) for _ in range(100)]
del blocks
held = psutil.Process().memory_info().rss
available_bytes(torch.device("cpu"))
print(held - psutil.Process().memory_info().rss)
"""
    plain = {key: value for key, value in os.environ.items() if "MALLOC" not in key and key != "GLIBC_TUNABLES"}
    done = subprocess.run([sys.executable, "-c", program], env=plain, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 1_500_000_000  # of two
