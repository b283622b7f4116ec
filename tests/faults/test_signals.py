"""Signals: one asks a run to save and be queued again, the second Ctrl-C ends it at once."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from unic.metrics import read_metrics


def test_sigusr1_saves_and_asks_to_be_requeued_then_the_run_ends_as_it_would_have(
    write_recipe: Callable[..., Path],
    start: Callable[..., subprocess.Popen[str]],
    finish: Callable[..., str],
    wait_for_step: Callable[..., None],
    tmp_path: Path,
) -> None:
    path = write_recipe(train={"steps": 5000}, checkpoint={"every": 5000, "asynchronous": True})
    run = tmp_path / "run"
    process = start(path, "--out", run)
    wait_for_step(run, 5, process)
    seen = read_metrics(run)[-1]["step"]
    process.send_signal(signal.SIGUSR1)
    output = finish(process, 75)
    saved = int((run / "checkpoints/last").read_text().removeprefix("step-"))
    assert f"checkpoint saved at step {saved}" in output
    assert saved >= seen
    assert read_metrics(run)[-1]["step"] == saved  # no step was done after it
    assert not (run / ".lock").exists()


def test_second_interrupt_ends_at_once(
    write_recipe: Callable[..., Path],
    start: Callable[..., subprocess.Popen[str]],
    finish: Callable[..., str],
    wait_for_step: Callable[..., None],
    tmp_path: Path,
) -> None:
    """The run hangs in step 4, so that nothing that is read between two steps would ever be seen."""
    run = tmp_path / "run"
    process = start(write_recipe(), "--out", run, fault="hang:4")
    wait_for_step(run, 3, process)
    while not (run / "checkpoints/last").exists():  # of step 3: its look at the signals lies before this
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGINT)
    output = finish(process, 130, timeout=60)
    assert output.rstrip().endswith("unic: stopped")
    assert "Traceback" not in output
