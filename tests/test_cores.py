"""The threads of a step: the cores of the process without those of its data workers."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic import cores
from unic.data.sources import open_source
from unic.encoders.schemes.pixels import Pixels
from unic.features import extract
from unic.recipe.schema import load_recipe
from unic.training import step, train


@pytest.fixture(autouse=True)
def _four_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with four cores, no limits, and no `OMP_NUM_THREADS`."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(cores, "_GROUP", tmp_path / "group")
    for name in ("OMP_NUM_THREADS", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(1)


def limit(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / name.replace("__", "/cpu.").replace("_max", ".max")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 4),
        ({"cpu_max": "max 100000\n"}, 4),
        ({"cpu_max": "150000 100000\n"}, 2),
        ({"cpu_max": "50000 100000\n"}, 1),
        ({"cpu_max": "900000 100000\n"}, 4),
        ({"cpu__cfs_quota_us": "300000\n", "cpu__cfs_period_us": "100000\n"}, 3),
        ({"cpu__cfs_quota_us": "-1\n", "cpu__cfs_period_us": "100000\n"}, 4),
    ],
)
def test_cores_of_a_container(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    limit(tmp_path / "group", **files)
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(("processes", "expected"), [("1", 4), ("2", 2), ("3", 1), ("8", 1)])
def test_processes_of_a_launcher_share_the_cores(
    processes: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(
    ("workers", "processes", "threads"), [(0, 1, 4), (1, 1, 3), (3, 1, 1), (4, 1, 1), (9, 1, 1), (0, 2, 2), (1, 2, 1)]
)
def test_threads_beside_workers(workers: int, processes: int, threads: int) -> None:
    assert cores.threads_beside(workers, processes) == threads


def test_never_more_than_torch_takes_by_itself() -> None:
    torch.set_num_threads(2)  # one for each of two real cores, say
    assert [cores.threads_beside(workers) for workers in (0, 1, 2, 3)] == [2, 2, 2, 1]


def test_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert (cores.threads_beside(3), cores.threads_beside(3, 2)) == (4, 2)
    assert re.search(r": 4 \(OMP_NUM_THREADS\), .*3 data workers", cores.described(3))


@pytest.mark.parametrize(("asked", "threads", "why"), [("", 2, "of 4 cores"), ("4", 4, "OMP_NUM_THREADS")])
def test_a_training_step_has_what_is_left(
    asked: str, threads: int, why: str, recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    seen = []
    update = step.optimizer_step
    monkeypatch.setattr(
        step,
        "optimizer_step",
        lambda *args, **named: (seen.append(torch.get_num_threads()), update(*args, **named))[1],
    )
    recipe["data"]["workers"], recipe["train"]["steps"] = 2, 2
    train.fit(load_recipe(recipe), tmp_path / "run", console=Console(quiet=True))
    assert seen == [threads] * 2
    assert torch.get_num_threads() == 4
    log = (tmp_path / "run/train.log").read_text()
    assert re.search(rf"threads.*: {threads} \({why}\), .*2 data workers", log)
    assert json.loads((tmp_path / "run/environment.json").read_text())["threads"] == threads


def test_features_are_computed_beside_workers(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Seeing(Pixels):
        def encode(self, x: torch.Tensor) -> Any:
            seen.append(torch.get_num_threads())
            return super().encode(x)

    source = open_source(str(image_folder))
    for workers in (0, 3):
        extract(Seeing(8), source, workers=workers)
    assert seen == [4, 1]
    assert torch.get_num_threads() == 4
