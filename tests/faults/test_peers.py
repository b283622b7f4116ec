"""Two processes of one run: one is killed or hangs, the other ends in bounded time with a line."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from launcher import Launcher, Process

from unic.errors import StoppedError
from unic.training.diagnosis import replay
from unic.training.watch import Agreement, peers

Start = Callable[..., Process]


@pytest.fixture
def pair(start: Start) -> Callable[..., list[Process]]:
    """Two processes that find each other by a free port, as torchrun would start them, but without its watching."""

    def begin(path: Path, run: Path, faults: tuple[str | None, str | None] = (None, None)) -> list[Any]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
        ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
        return [
            start(path, "--out", run, "--resume", fault=fault, **common, **rank)
            for rank, fault in zip(ranks, faults, strict=True)
        ]

    return begin


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.long)])
def test_one_is_killed(
    write_recipe: Callable[..., Path],
    pair: Callable[..., list[Any]],
    finish: Callable[..., str],
    wait_for_step: Callable[..., None],
    tmp_path: Path,
    victim: int,
) -> None:
    path, run = write_recipe(train={"steps": 50_000}, student={"drop_path": 0.0}), tmp_path / "run"
    processes = pair(path, run)
    wait_for_step(run, 5, processes[0])
    processes[victim].kill()
    survivor = 1 - victim
    output = finish(processes[survivor], 1, timeout=60)
    assert re.search(f"unic: process {survivor} of 2: .*has ended.*--resume", output)
    assert "Traceback" not in output
    assert (run / "checkpoints/last").exists()


def test_one_hangs(
    write_recipe: Callable[..., Path],
    pair: Callable[..., list[Any]],
    finish: Callable[..., str],
    wait_for_step: Callable[..., None],
    tmp_path: Path,
) -> None:
    """Stopped, it is alive and keeps its connections: only the time tells."""
    path, run = write_recipe(train={"steps": 50_000, "timeout": 15}, student={"drop_path": 0.0}), tmp_path / "run"
    processes = pair(path, run)
    wait_for_step(run, 5, processes[0])
    processes[1].send_signal(signal.SIGSTOP)
    output = finish(processes[0], 1, timeout=75)
    assert re.search(r"unic: process 0 of 2: .* 15 s \(train\.timeout\)", output)
    assert "Traceback" not in output


def test_a_signal_to_one_stops_both_at_the_same_step(
    write_recipe: Callable[..., Path],
    pair: Callable[..., list[Any]],
    finish: Callable[..., str],
    wait_for_step: Callable[..., None],
    tmp_path: Path,
) -> None:
    path, run = write_recipe(train={"steps": 50_000}, student={"drop_path": 0.0}), tmp_path / "run"
    processes = pair(path, run)
    wait_for_step(run, 5, processes[0])
    processes[1].send_signal(signal.SIGTERM)
    lines = [finish(process, 75, timeout=60).splitlines()[-1] for process in processes]
    assert lines[0] == lines[1]
    assert re.search("stopped by a signal; .*saved at step", lines[0])


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("ddp", "another process"),
        pytest.param("fsdp", "gradient", marks=pytest.mark.long),  # it is everybody's
    ],
)
def test_steps_that_are_not_finite_end_both_and_each_says_what_it_saw(
    write_recipe: Callable[..., Path],
    pair: Callable[..., list[Any]],
    finish: Callable[..., str],
    tmp_path: Path,
    engine: str,
    said: str,
) -> None:
    """The case holds whole tensors, whatever they were in: one process runs it again."""
    path = write_recipe(train={"steps": 50_000, "max_skipped": 3, "engine": engine}, student={"drop_path": 0.0})
    culprit, other = (finish(process, 1, timeout=120) for process in pair(path, tmp_path / "run", ("nan:4", None)))
    assert re.search(r"unic: step 6: 3 steps.*\(train\.max_skipped\); teacher '", culprit)
    assert "for 1 of 4 images" in culprit
    assert "unic: step 6: 3 steps" in other
    assert said in other
    found = replay(tmp_path / "run/non_finite/step-6.json")
    assert found["parameters"] == found["gradients"] == found["images"] == []


PROGRAM = """
import sys, time
from datetime import timedelta
from types import SimpleNamespace
import torch
import torch.distributed as dist
from unic.training.watch import Agreement

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
agreement = Agreement(SimpleNamespace(num_processes=2, device=torch.device("cpu")), 2)
agreement._group = dist.new_group(timeout=timedelta(seconds=2))
agreement.any(False)  # both are there
if sys.argv[3] == "fails":
    try:
        with agreement.waiting():
            if rank == 0:
                raise ValueError("a full disk")
    except ValueError as error:
        print(error)
elif sys.argv[3] == "is told to stop":
    with agreement.waiting(lambda: rank == 1) as is_asked_to_stop:
        while rank == 0 and not is_asked_to_stop():
            time.sleep(0.1)
    print(is_asked_to_stop())
elif sys.argv[3] == "waits":
    with agreement.waiting():
        time.sleep(6 * rank)
else:
    time.sleep(6 * rank)
print(agreement.any(rank == 1))
dist.destroy_process_group()
"""


def both(launch: Launcher, tmp_path: Path, kind: str) -> list[tuple[int | None, str]]:
    store = str(tmp_path / "store")
    processes = [launch("-c", PROGRAM, str(rank), store, kind, env=os.environ) for rank in range(2)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def test_one_works_for_longer_than_the_timeout(launch: Launcher, tmp_path: Path) -> None:
    assert both(launch, tmp_path, "waits") == [(0, "[True]\n")] * 2


def test_a_stop_of_one_is_heard_by_the_other_while_it_works(launch: Launcher, tmp_path: Path) -> None:
    assert both(launch, tmp_path, "is told to stop") == [(0, "True\n[True]\n")] * 2


def test_without_signs_of_life_it_is_taken_for_hung(launch: Launcher, tmp_path: Path) -> None:
    code, said = both(launch, tmp_path, "is silent")[0]
    assert code == 1
    assert "Timed out waiting 2000ms" in said


def test_a_failure_of_one_ends_the_waiting_of_the_other(launch: Launcher, tmp_path: Path) -> None:
    assert both(launch, tmp_path, "fails") == [(0, "a full disk\n[True]\n"), (0, "[True]\n")]


class Two:
    """What `peers` asks an accelerator."""

    num_processes, process_index = 2, 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:525] Read error: Connection reset by peer",
            "has ended",
        ),
        (
            "[gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 15000ms for recv operation",
            "not answered for 9 s",
        ),
        (
            "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=5, …) ran for 9000 ms",
            "not answered",
        ),
        ("NCCL error: remote process exited or there was a network error", "has ended"),
        ("[c10d] The client socket has timed out after 60000ms", "not answered"),
    ],
)
def test_what_libraries_say_becomes_one_line(text: str, said: str) -> None:
    with pytest.raises(StoppedError, match=f"^process 1 of 2: another process .*{said}.*resume=True$"):
        with peers(Two(), 9):  # type: ignore[arg-type]
            raise RuntimeError(text)


def test_other_errors_and_single_processes_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="^shapes do not match$"), peers(Two(), 9):  # type: ignore[arg-type]
        raise RuntimeError("shapes do not match")
    alone = Accelerator(cpu=True)
    with pytest.raises(RuntimeError, match="^gloo: connection closed$"), peers(alone, 9):
        raise RuntimeError("gloo: connection closed")
    assert Agreement(alone, 9).any(True, False) == [True, False]
