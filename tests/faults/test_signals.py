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
import torch
from launcher import Process
from rich.console import Console

from unic import api
from unic.data.batch import Batch
from unic.errors import PreemptedError
from unic.recipe.schema import load_recipe
from unic.runs import checkpoint
from unic.runs.checkpoint import load_newest
from unic.runs.metrics import read_metrics
from unic.training import cache_build, stages
from unic.training.timed import Timed
from unic.training.train import fit

QUIET = Console(quiet=True)


def test_sigusr1_saves_and_asks_to_be_requeued_then_the_run_ends_as_it_would_have(
    write_recipe: Callable[..., Path],
    start: Callable[..., Process],
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
    assert f"saved at step {saved}" in output
    assert saved >= seen
    assert read_metrics(run)[-1]["step"] == saved  # no step was done after it
    assert not (run / ".lock").exists()


def test_second_interrupt_ends_at_once(
    write_recipe: Callable[..., Path],
    start: Callable[..., Process],
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
        (sys.modules["unic.training.stages"], "build", 3, "before step 3"),  # after the two of the start
        (checkpoint, "save", 1, "before step 3"),
        (cache_build, "obtain", 1, "teacher cache"),
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
        with pytest.raises(PreemptedError, match=f"^stopped by a signal .*{line}.*resume=True$"):
            fit(settings, tmp_path / "run", console=QUIET)
    fit(settings, tmp_path / "run", console=QUIET, resume=True)
    fit(settings, tmp_path / "whole", console=QUIET)
    whole, resumed = ([(row["step"], row["loss"]) for row in read_metrics(tmp_path / run)] for run in ("whole", "run"))
    assert whole == resumed


@pytest.mark.usefixtures("survivable")
def test_a_signal_while_the_models_are_loaded(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "build", lambda *_: os.kill(os.getpid(), signal.SIGUSR1))
    with pytest.raises(PreemptedError, match="^stopped by a signal .*models.*resume=True$"):
        fit(load_recipe(recipe), tmp_path / "run", console=QUIET)


@pytest.mark.usefixtures("survivable")
def test_a_signal_after_the_training_leaves_the_rest_to_a_resume(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe |= {"trackers": {}, "train": {**recipe["train"], "steps": 2}}
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr("unic.api.distilling.report", lambda *_: os.kill(os.getpid(), signal.SIGUSR1))
        with pytest.raises(PreemptedError, match="^stopped by a signal after the training.*saved"):
            api.distill(recipe, out=run, console=QUIET)
    api.distill(recipe, out=run, console=QUIET, resume=True)
    assert (run / "report.html").is_file()
    assert [row["step"] for row in read_metrics(run)] == [1, 2]


@pytest.mark.usefixtures("survivable")
@pytest.mark.parametrize(("call", "saved"), [(1, 0), (6, 2)], ids=["before the first step", "between micro-batches"])
def test_a_step_that_is_given_up_leaves_no_trace(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, saved: int
) -> None:
    """The student has batch norms, which a micro-batch changes before the step is done."""
    recipe["student"] = {"model": "timm:test_efficientnet?pretrained=false&img_size=32"}
    recipe |= {"trackers": {}}
    recipe["train"] |= {"steps": 4, "micro_batches": 2}
    settings, original, calls = load_recipe(recipe), Timed.__next__, [0]

    def signalled(batches: Timed) -> Batch:
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGUSR1)
        return original(batches)

    with monkeypatch.context() as patched:
        patched.setattr(Timed, "__next__", signalled)
        with pytest.raises(PreemptedError, match=f"^stopped by a signal; .*saved at step {saved}; "):
            fit(settings, tmp_path / "run", console=QUIET)
    fit(settings, tmp_path / "run", console=QUIET, resume=True)
    fit(settings, tmp_path / "whole", console=QUIET)
    run, whole = (load_newest(tmp_path / name) for name in ("run", "whole"))
    assert run is not None
    assert whole is not None
    assert run.checkpoint.step == whole.checkpoint.step == 4
    assert all(torch.equal(run.checkpoint.tensors[name], tensor) for name, tensor in whole.checkpoint.tensors.items())
