"""Two runs in one folder: the second is refused, and nothing that a dead one left behind is in the way."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from launcher import Process

from unic.errors import InputError
from unic.training import lock

_HOLDER = "import sys, time; from pathlib import Path; from unic.training import lock\n"
_HOLDER += "with lock.held(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", _HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_second_holder_is_refused_and_a_killed_one_is_not_in_the_way(tmp_path: Path) -> None:
    process = holder(tmp_path)
    line = f"process {process.pid} on {socket.gethostname()} "
    for attempt in (lock.check, lambda folder: lock.held(folder).__enter__()):
        with pytest.raises(InputError, match=line) as error:
            attempt(tmp_path)
        assert "\n" not in str(error.value)
    os.kill(process.pid, signal.SIGSTOP)  # asleep is not dead
    with pytest.raises(InputError, match=line):
        lock.check(tmp_path)
    process.kill()
    process.communicate()
    assert (tmp_path / ".lock").exists()
    lock.check(tmp_path)
    with lock.held(tmp_path), pytest.raises(InputError, match=f"process {os.getpid()} "):
        lock.check(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("holder", "is_free"),
    [
        ({"pid": os.getpid(), "host": socket.gethostname()}, False),
        ({"pid": 2**22 + 1, "host": socket.gethostname()}, True),  # above the largest there is
        ({"pid": 1, "host": "another"}, False),
        ({"host": socket.gethostname()}, True),
        ("torn", True),
    ],
)
def test_without_locks_the_file_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: object, is_free: bool
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".lock").write_text(json.dumps(holder))
    if is_free:
        with lock.held(tmp_path):
            pass
    else:
        with pytest.raises(InputError, match="in use"):
            lock.check(tmp_path)


def test_a_run_refuses_a_folder_in_use(
    write_recipe: Callable[..., Path],
    start: Callable[..., Process],
    finish: Callable[..., str],
    wait_for_step: Callable[..., None],
    tmp_path: Path,
) -> None:
    path, run = write_recipe(train={"steps": 50_000}), tmp_path / "run"
    first = start(path, "--out", run)
    wait_for_step(run, 2, first)
    output = finish(start(path, "--out", run, "--resume"), 2)
    assert f"process {first.pid} on" in output
    assert output.count("\n") == 1
    assert first.poll() is None
