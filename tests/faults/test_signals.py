"""Signals: one asks a run to save and be queued again, the second Ctrl-C ends it at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from unic import checkpoint
from unic.config import load_recipe
from unic.distill import cache_build
from unic.distill.train import fit
from unic.errors import PreemptedError
from unic.metrics import read_metrics

QUIET = Console(quiet=True)


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
    process = start(write_recipe(), "--out", run, fault="hang:4", HANGS=str(tmp_path / "hangs"))
    wait_for_step(run, 3, process)
    while not (tmp_path / "hangs").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGINT)
    output = finish(process, 130, timeout=60)
    assert output.rstrip().endswith("unic: stopped")
    assert "Traceback" not in output


@pytest.fixture
def survivable() -> Iterator[None]:
    """A signal that the run does not take for itself would end the tests."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("survivable")
@pytest.mark.parametrize(
    ("module", "name", "call", "line"),
    [
        (sys.modules["unic.distill.train"], "build", 1, "stopped by a signal before step 3; continue with --resume"),
        (checkpoint, "save", 1, "stopped by a signal before step 3; continue with --resume"),
        (cache_build, "obtain", 1, "stopped by a signal while the teacher cache was built; continue with --resume"),
    ],
    ids=["while the next stage is built", "in the last save of a stage", "while the cache is built"],
)
def test_between_stages_a_signal_is_not_lost(
    recipe: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    call: int,
    line: str,
) -> None:
    """Two stages of two steps; the signal arrives outside of a step, and the resumed run is the uninterrupted one."""
    recipe |= {"stages": [{}, {"train.lr": 0.004}], "trackers": {}, "checkpoint": {"every": 100}}
    recipe["train"] |= {"steps": 2}
    recipe["teachers"]["cache"] = {"views": 1, "dir": str(tmp_path / "cache")}
    settings, original, calls = load_recipe(recipe), getattr(module, name), [0]

    def signalled(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGUSR1)
        return original(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, name, signalled)
        with pytest.raises(PreemptedError, match=f"^{line}$"):
            fit(settings, tmp_path / "run", console=QUIET)
    fit(settings, tmp_path / "run", console=QUIET, resume=True)
    fit(settings, tmp_path / "whole", console=QUIET)
    whole, resumed = ([(row["step"], row["loss"]) for row in read_metrics(tmp_path / run)] for run in ("whole", "run"))
    assert whole == resumed
