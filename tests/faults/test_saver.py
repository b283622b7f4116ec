"""Saves beside the step, the best that stays, and disks that are full: real limits of the kernel, not mocks."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic.encoders import Encoder
from unic.errors import StoppedError
from unic.recipe.schema import load_recipe
from unic.recipe.sections import CheckpointSection
from unic.runs import checkpoint
from unic.runs.metrics import read_metrics
from unic.training.saver import Saver
from unic.training.train import fit

QUIET = Console(quiet=True)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 20 kB: the kernel refuses the write, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def steps(run: Path) -> list[int]:
    return sorted(int(path.name.partition("-")[2]) for path in (run / "checkpoints").glob("step-*"))


def tensors(value: float = 1.0, size: int = 9) -> dict[str, torch.Tensor]:
    return {"w": torch.full((size,), value)}


def save_and_wait(saver: Saver, step: int) -> None:
    """A large one; in step the first line fails, beside it the second."""
    saver.save(step, tensors(size=100_000), {})
    saver.wait()


def test_the_best_and_the_newest_stay(tmp_path: Path) -> None:
    saver = Saver(tmp_path, CheckpointSection(keep=1, best="knn/mean"), print)
    for step, score in ((1, 10.0), (2, 30.0), (3, 20.0), (4, float("nan"))):
        saver.note({"knn/mean": score})
        saver.save(step, tensors(), {})
    assert steps(tmp_path) == [2, 4]
    assert (tmp_path / "checkpoints/best").read_text() == "step-2"
    found, _ = checkpoint.load_newest(tmp_path) or (None, None)
    assert found is not None
    resumed = Saver(tmp_path, CheckpointSection(keep=1, best="knn/mean"), print)
    resumed.load_state_dict(found.state["saver"])
    resumed.note({"knn/mean": 25.0})
    resumed.save(5, tensors(), {})
    assert steps(tmp_path) == [2, 5]
    resumed.note({"knn/mean": 31.0})
    resumed.save(6, tensors(), {})
    assert steps(tmp_path) == [6]


def test_of_losses_the_lowest_is_best(tmp_path: Path) -> None:
    saver = Saver(tmp_path, CheckpointSection(keep=1, best="loss/vit"), print)
    for step, score in ((1, 3.0), (2, 1.0), (3, 2.0)):
        saver.note({"loss/vit": score})
        saver.save(step, tensors(), {})
    assert steps(tmp_path) == [2, 3]


def test_a_metric_that_is_not_logged_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saver = Saver(tmp_path, CheckpointSection(best="knn/maen"), print)
    saver.note({"knn/mean": 1.0})
    saver.save(1, tensors(), {})
    assert re.search("'knn/maen'.*step 1.*knn/mean", caplog.text)


def test_beside_the_step_the_values_are_those_of_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimiser goes on while the file is written; the next save waits for this one."""
    may_write, save = threading.Event(), checkpoint.save

    def slow(*arguments: Any) -> Path:
        assert may_write.wait(60)
        return save(*arguments)

    monkeypatch.setattr(checkpoint, "save", slow)
    trained = tensors(1.0)
    with Saver(tmp_path, CheckpointSection(asynchronous=True), print) as saver:
        saver.save(1, trained, {})
        trained["w"].fill_(2.0)
        assert not (tmp_path / "checkpoints").exists()
        may_write.set()
        saver.save(2, trained, {})
        assert steps(tmp_path)[0] == 1
    assert steps(tmp_path) == [1, 2]
    found, _ = checkpoint.load_newest(tmp_path) or (None, None)
    assert found is not None
    assert found.tensors["w"][0] == 2.0
    (tmp_path / "checkpoints/step-2/SHA256SUMS").unlink()
    found, _ = checkpoint.load_newest(tmp_path) or (None, None)
    assert found is not None
    assert found.tensors["w"][0] == 1.0


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_full_disk_is_said_and_the_last_good_one_stays(tmp_path: Path, asynchronous: bool) -> None:
    said: list[str] = []
    large = tensors(size=100_000)
    with Saver(tmp_path, CheckpointSection(asynchronous=asynchronous, keep=3), said.append) as saver:
        saver.save(1, tensors(), {})
        with full_disk():
            saver.save(2, large, {})
            saver.wait()
        saver.save(3, large, {})
    assert len(said) == 1
    assert re.search("step 2 not saved: File too large; .*step-1", said[0])
    assert steps(tmp_path) == [1, 3]
    assert not list((tmp_path / "checkpoints").glob(".*"))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_full_disk_ends_the_run_where_it_shall(tmp_path: Path, asynchronous: bool) -> None:
    setting = CheckpointSection(asynchronous=asynchronous, on_full="stop")
    with Saver(tmp_path, setting, print) as saver:
        saver.save(1, tensors(), {})
        line = "step 2 not saved: .*step-1; "
        with full_disk(), pytest.raises(StoppedError, match=line):
            save_and_wait(saver, 2)
    assert steps(tmp_path) == [1]


def test_a_save_that_must_be_ends_the_run_by_any_policy(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(StoppedError, match="step 1 not saved"):
        Saver(tmp_path, CheckpointSection(), print).save(1, tensors(size=100_000), {}, must=True)


def test_no_space_left(tmp_path: Path, file_system: Any) -> None:
    with file_system(tmp_path / "small", size="1m") as small:
        said: list[str] = []
        saver = Saver(small, CheckpointSection(), said.append)
        saver.save(1, tensors(size=100_000), {})
        saver.save(2, tensors(size=200_000), {})
        assert f"not saved: {os.strerror(errno.ENOSPC)}" in said[0]
        assert steps(small) == [1]
        saver.save(3, tensors(size=100_000), {})
        assert steps(small) == [1, 3]


@pytest.mark.parametrize("policy", ["continue", "stop"])
def test_a_run_on_a_disk_that_is_full_for_a_while(recipe: dict[str, Any], tmp_path: Path, policy: str) -> None:
    """Full from step 4 to step 7: the checkpoint of step 6 cannot be written; that of step 3 is used afterwards."""
    limit = full_disk()

    def fill(encoder: Encoder, step: int) -> dict[str, float]:
        if step == 4:
            limit.__enter__()
        if step == 7:
            limit.__exit__(None, None, None)
        return {}

    run = tmp_path / "run"
    settings = load_recipe(recipe, ["eval.every=1", f"checkpoint.on_full={policy}", "trackers=[]"])
    if policy == "continue":
        fit(settings, run, callback=fill, console=QUIET)
        assert steps(run) == [3, 8]
        assert [row["step"] for row in read_metrics(run) if "loss" in row] == list(range(1, 9))
        assert "step 6 not saved: File too large" in (run / "train.log").read_text()
        return
    try:
        with pytest.raises(StoppedError, match="step 6 not saved"):
            fit(settings, run, callback=fill, console=QUIET)
    finally:
        limit.__exit__(None, None, None)
    fit(settings, run, resume=True, console=QUIET)
    assert steps(run) == [6, 8]


@pytest.mark.parametrize("what", ["removed", "moved", "replaced"])
def test_the_folder_of_a_run_goes_while_it_runs(recipe: dict[str, Any], tmp_path: Path, what: str) -> None:
    run = tmp_path / "run"

    def tidy_up(encoder: Encoder, step: int) -> dict[str, float]:
        if step == 4:
            run.rename(tmp_path / "elsewhere") if what == "moved" else shutil.rmtree(run)
        if step == 4 and what == "replaced":
            run.mkdir()
            (run / "recipe.yaml").write_text("of another run")
        return {}

    settings = load_recipe(recipe, ["eval.every=1", "trackers=[]"])
    with pytest.raises(StoppedError, match="folder was moved, removed or replaced"):
        fit(settings, run, callback=tidy_up, console=QUIET)
    left = [path.name for path in run.iterdir()] if run.exists() else []
    assert left == (["recipe.yaml"] if what == "replaced" else [])
    if what == "moved":
        assert steps(tmp_path / "elsewhere") == [3]
        fit(settings, tmp_path / "elsewhere", resume=True, console=QUIET)
        assert steps(tmp_path / "elsewhere") == [6, 8]
