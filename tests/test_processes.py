"""Child processes end with their parent, however it ends, and do not import its script."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from unic import processes

PARENT = """
import os, signal, sys, time
from unic import processes

print("imported", __name__, flush=True)
start = processes.forking("unic.errors") if sys.argv[1] == "forked" else processes.Spawning().Process
child = start(target=time.sleep, args=(600,))
child.start()
print(child.pid, flush=True)
if sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "fail":
    raise SystemExit(3)
time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["forked", "spawned"])
@pytest.mark.parametrize("end", ["kill", "fail"])
def test_children_end_with_their_parent(tmp_path: Path, kind: str, end: str) -> None:
    """A script without a main guard runs once, so it prints once."""
    script = tmp_path / "script.py"
    script.write_text(PARENT)
    done = subprocess.run(
        [sys.executable, script, kind, end], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    first, child = done.stdout.split("\n")[:2]
    assert done.returncode == {"kill": -9, "fail": 3}[end]
    assert first == "imported __main__"
    assert "imported" not in child
    deadline = time.monotonic() + 20
    while psutil.pid_exists(int(child)) and psutil.Process(int(child)).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_script_from_standard_input_can_start_processes() -> None:
    script = PARENT.replace("time.sleep, args=(600,)", "print, args=('from the child',)")
    script = script.replace("print(child.pid, flush=True)", "child.join(); print(child.exitcode)")
    done = subprocess.run(
        [sys.executable, "-", "forked", "fail"], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split("\n")[:3] == ["imported __main__", "from the child", "0"], done.stderr


@pytest.mark.parametrize("kind", ["forked", "spawned"])
def test_end_takes_those_along_that_do_not_listen(kind: str) -> None:
    start: Callable = processes.forking("unic.errors") if kind == "forked" else processes.Spawning().Process
    child = start(target=time.sleep, args=(600,))
    child.start()
    process = psutil.Process(child.pid)
    process.suspend()
    processes.end([child])
    assert not child.is_alive()
    assert child.exitcode == -9


HOLDER = """
import subprocess, sys
from unic import processes
from unic.exporting import deployed

with processes.lifeline() as stdin:
    script = deployed._PROLOGUE.partition("import numpy")[0]
    script += "print(os.getpid(), flush=True); threading.Event().wait(600)"
    subprocess.run([sys.executable, "-c", script], stdin=stdin)
"""


def test_the_check_of_an_export_ends_with_the_export() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert psutil.pid_exists(int(holder.stdout.readline()))
        holder.kill()
        assert holder.stdout.read() == ""  # the child has the other end, so this waits for its end: 600 s, else
