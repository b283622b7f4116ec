"""A process group as terminals, `timeout` and schedulers see it: run, data workers, fork server, resource tracker.

The images are large and the student small, so that the run waits for data nearly all of the time.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from launcher import Launcher, Process
from PIL import Image

from unic.runs.checkpoint import load_newest

Group = Callable[..., Process]
Finish = Callable[..., str]


@pytest.fixture
def slow_images(tmp_path: Path) -> Path:
    folder = tmp_path / "slow"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    for number in range(8):
        Image.fromarray(np.roll(noise, number)).save(folder / f"{number}.png", compress_level=1)
    return folder


@pytest.fixture
def group(launch: Launcher) -> Iterator[Group]:
    """Starts `unic …` in a session of its own; whatever is left of it at the end is killed."""
    started: list[Process] = []

    def begin(*arguments: str | Path) -> Process:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = ["-m", "unic", *map(str, arguments)]
        started.append(launch(*command, env=environment, start_new_session=True))
        return started[-1]

    yield begin
    for process in started:
        for member in members(process):
            member.kill()
        process.wait()
        process.stdout.close()


def members(process: Process) -> list[psutil.Process]:
    """All that live in the session that a process has begun."""
    found = []
    for one in psutil.process_iter():
        try:
            if os.getsid(one.pid) == process.pid and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def workers(process: Process) -> list[psutil.Process]:
    """The data workers: children of the fork server, which is a child of the run."""
    return [one for one in members(process) if one.ppid() != process.pid and one.pid != process.pid]


def assert_all_end(process: Process, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while left := members(process):
        assert time.monotonic() < deadline, [one.cmdline() for one in left]
        time.sleep(0.1)


def write_recipe(folder: Path, images: Path, **data: object) -> Path:
    settings = {"train": str(images), "size": 32, "workers": 2, **data}
    entries = "".join(f"  {key}: {value}\n" for key, value in settings.items())
    path = folder / "recipe.yaml"
    path.write_text(
        'teachers: {models: {p: "pixels:8"}}\n'
        'student: {model: "timm:test_vit?pretrained=false&img_size=32"}\n'
        f"data:\n{entries}trackers: []\ncheckpoint: {{every: 100000}}\n"
        "train: {steps: 100000, batch_size: 8, warmup_epochs: 0, log_every: 1, precision: fp32}\n"
    )
    return path


def test_a_signal_to_the_group_saves(
    slow_images: Path, group: Group, finish: Finish,
    wait_for_step: Callable[..., None], tmp_path: Path,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    process = group("distill", write_recipe(tmp_path, slow_images), "--out", run)
    wait_for_step(run, 1, process)
    time.sleep(0.3)  # into the wait for a later step
    os.killpg(process.pid, signal.SIGINT)
    output = finish(process, 75, timeout=60)
    found = load_newest(run)
    assert found is not None
    assert re.search(f"unic: stopped by a signal; .*step {found.checkpoint.step}; .*--resume", output)
    assert "Traceback" not in output
    assert_all_end(process)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_twenty_signals_to_the_group_are_twenty_checkpoints(
    number: signal.Signals, slow_images: Path, group: Group, finish: Finish,
    wait_for_step: Callable[..., None], tmp_path: Path,
) -> None:  # fmt: skip
    run, draw, reached = tmp_path / "run", random.Random(int(number)), 0
    for _ in range(int(os.environ.get("UNIC_TEST_SIGNALS", 20))):
        process = group("distill", write_recipe(tmp_path, slow_images), "--out", run, "--resume")
        wait_for_step(run, reached + 1, process)
        time.sleep(draw.uniform(0, 1.5))
        os.killpg(process.pid, number)
        finish(process, 75, timeout=120)
        found = load_newest(run)
        assert found is not None
        assert found.checkpoint.step > reached
        assert found.problems == []
        reached = found.checkpoint.step
        assert_all_end(process)


def test_a_worker_that_is_killed_ends_the_run_with_a_checkpoint(
    slow_images: Path, group: Group, finish: Finish, wait_for_step: Callable[..., None], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = group("distill", write_recipe(tmp_path, slow_images), "--out", run)
    wait_for_step(run, 1, process)
    workers(process)[0].kill()
    output = finish(process, 1, timeout=30)
    assert re.search("unic: data: .*signal 9.*data.workers.*saved at step", output)
    assert load_newest(run) is not None
    assert_all_end(process)


def test_children_end_with_a_run_that_is_killed(
    slow_images: Path, group: Group, wait_for_step: Callable[..., None], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = group("distill", write_recipe(tmp_path, slow_images), "--out", run)
    wait_for_step(run, 1, process)
    assert len(workers(process)) == 2
    process.kill()
    process.wait()
    assert_all_end(process)


SLOW = """
import os, time
from pathlib import Path

IS_RANDOM = False


def run(train, test, *, seed=0):
    (Path(os.environ["BEGUN"]) / str(os.getpid())).touch()
    time.sleep(300)
"""


@pytest.mark.parametrize(
    ("number", "code", "jobs"),
    [(signal.SIGTERM, 143, 2), pytest.param(signal.SIGINT, 130, 1, marks=pytest.mark.long)],
)
def test_an_evaluation_ends_in_one_line_and_keeps_what_is_finished(
    number: signal.Signals, code: int, jobs: int, slow_images: Path, group: Group, finish: Finish,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    for part in ("train", "test"):
        for label, image in enumerate(sorted(slow_images.iterdir())[:2]):
            target = tmp_path / "set" / part / f"class{label}" / image.name
            target.parent.mkdir(parents=True)
            Image.open(image).resize((9, 9)).save(target)
    begun = tmp_path / "begun"
    begun.mkdir()
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/slow.py").write_text(SLOW)
    monkeypatch.setenv("BEGUN", str(begun))
    monkeypatch.setenv("UNIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    process = group(
        "eval", "pixels:8", "pixels:9", "--data", f"x={tmp_path / 'set'}?overlap=allow", "--tasks", "knn,lab.slow",
        "--seeds", "0", "--jobs", str(jobs), "--out", tmp_path / "results.json",
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list(begun.iterdir())) < jobs:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    os.killpg(process.pid, number)
    output = finish(process, code, timeout=40)
    assert output.splitlines()[-1] == "unic: stopped"
    assert "Traceback" not in output
    assert_all_end(process)
    assert not (tmp_path / "results.json").exists()
    assert len(list((tmp_path / "cache/cells").rglob("*.*"))) == jobs  # k-NN, of each model that was begun
