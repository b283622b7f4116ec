"""Real processes: a run killed with -9 and resumed, and two ranks that equal one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from launcher import Launcher, Process

from unic.runs.metrics import read_metrics

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def write(recipe: dict[str, Any], path: Path) -> Path:
    path.write_text(yaml.safe_dump(recipe))
    return path


Start = Callable[..., Process]


@pytest.fixture
def start(launch: Launcher) -> Start:
    return lambda *arguments: launch("-m", "unic", "distill", *map(str, arguments), env=ENVIRONMENT)


def finish(process: Process, code: int = 0) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == code, output
    return output


def losses(run: Path) -> dict[int, float]:
    rows = read_metrics(run)
    assert len({row["step"] for row in rows}) == len(rows)
    return {row["step"]: row["loss"] for row in rows}


def wait_for_step(run: Path, step: int, process: Process) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if any(row["step"] >= step for row in read_metrics(run)):
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached: {process.communicate()[0]}")


def test_killed_three_times_and_resumed_bit_for_bit(start: Start, recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["train"]["steps"] = 60
    recipe["checkpoint"] = {"every": 7, "keep": 2}
    path = write(recipe, tmp_path / "recipe.yaml")
    finish(start(path, "--out", tmp_path / "whole"))
    run = tmp_path / "killed"
    for step in (9, 24, 41):
        process = start(path, "--out", run, "--resume")
        wait_for_step(run, step, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(path, "--out", run, "--resume"))
    assert losses(run) == losses(tmp_path / "whole")
    name = "export/model.safetensors"
    assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_signal_saves_and_asks_to_be_requeued(start: Start, recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["train"]["steps"] = 5000
    run = tmp_path / "run"
    process = start(write(recipe, tmp_path / "recipe.yaml"), "--out", run)
    wait_for_step(run, 5, process)
    process.send_signal(signal.SIGTERM)
    output = finish(process, 75)
    saved = (run / "checkpoints/last").read_text()
    assert f"saved at step {saved.removeprefix('step-')}" in output
    assert max(losses(run)) == int(saved.removeprefix("step-"))


def test_two_ranks_equal_one(start: Start, recipe: dict[str, Any], tmp_path: Path) -> None:
    """Ten steps of a LayerNorm student without drop path: the same losses to 1e-5 (CONTRACT, Invariants)."""
    recipe["train"] |= {"steps": 10, "micro_batches": 2}
    recipe["student"]["drop_path"] = 0.0
    path = write(recipe, tmp_path / "recipe.yaml")
    finish(start(path, "--out", tmp_path / "one"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "unic", "distill", str(path), "--out", str(tmp_path / "two")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "destroy_process_group" not in done.stderr  # what torch says, as Python ends, when the group is left open
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == two.keys()
    for step, loss in one.items():
        assert two[step] == pytest.approx(loss, abs=1e-5)
