"""Runs in processes of their own, healthy or with a fault (`faulty.py`)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from launcher import Launcher, Process

from unic.runs.metrics import read_metrics

Start = Callable[..., Process]
FileSystem = Callable[..., AbstractContextManager[Path]]


@pytest.fixture
def file_system() -> FileSystem:
    """Mounts a small file system of its own for a block, read-only or not, where the machine lets us have one."""

    @contextmanager
    def mounted(at: Path, *, size: str = "8k", read_only: bool = False) -> Iterator[Path]:
        at.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(at)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("may not mount a file system here")
        try:
            if read_only:
                subprocess.run(["mount", "-o", "remount,ro", str(at)], check=True)
            yield at
        finally:
            subprocess.run(["umount", "-l", str(at)], check=True)

    return mounted


@pytest.fixture
def start(launch: Launcher) -> Iterator[Start]:
    """Starts `unic distill`; whatever is left of it at the end is killed.

    `fault` as in `faulty.py`; `environment` is added to this one's, None removes an entry. `cold`: with imports of its
    own, for an environment that they read.
    """
    started: list[Process | subprocess.Popen[str]] = []

    def begin(
        *arguments: str | Path, fault: str | None = None, cold: bool = False, **environment: str | None
    ) -> Process | subprocess.Popen[str]:
        program = ["-m", "unic"] if fault is None else [str(Path(__file__).parent / "faulty.py")]
        changed = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "FAULT": fault, **environment}
        variables = {key: value for key, value in {**os.environ, **changed}.items() if value is not None}
        command = [*program, "distill", *map(str, arguments)]
        if cold:
            pipe = subprocess.PIPE
            cold_one = subprocess.Popen(
                [sys.executable, *command], env=variables, stdout=pipe, stderr=subprocess.STDOUT, text=True
            )
            started.append(cold_one)
        else:
            started.append(launch(*command, env=variables))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def finish() -> Callable[..., str]:
    def wait(process: Process, code: int = 0, timeout: float = 400) -> str:
        output, _ = process.communicate(timeout=timeout)
        assert process.returncode == code, output
        return output

    return wait


@pytest.fixture
def wait_for_step() -> Callable[..., None]:
    def wait(run: Path, step: int, process: Process) -> None:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and process.poll() is None:
            if any(row["step"] >= step for row in read_metrics(run)):
                return
            time.sleep(0.01)
        raise AssertionError(f"step {step} was not reached: {process.communicate()[0]}")

    return wait


@pytest.fixture
def write_recipe(recipe: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Writes the toy recipe with changed sections, `train={"steps": 5}`; without evaluation or trackers."""

    def write(**sections: dict[str, Any]) -> Path:
        tree = {**recipe, "trackers": {}}
        tree |= {name: {**recipe.get(name, {}), **values} for name, values in sections.items()}
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    return write
