"""kill -9 at any moment, inside of a save too: the disk holds a whole checkpoint, a resume gives the same bits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launcher import Process

from unic.runs import checkpoint
from unic.runs.metrics import read_metrics

# Saves steps 1, 2, 3 in a child that is killed at call number `at`; prints what a resume would find.
_DRIVER = """
import json, os, signal, sys
import torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from faulty import install
from unic.runs import checkpoint
from unic.runs.checkpoint import Checkpoint

root, found = Path(sys.argv[2]), []
for at in range(1, 100):
    run = root / str(at)
    child = os.fork()
    if child == 0:
        install("die_in_save", at)
        for step in (1, 2, 3):
            checkpoint.save(run, Checkpoint(step, {"w": torch.full((9,), float(step))}, {}), keep=1)
            (root / f"{at}.saved").write_text(str(step))
        os._exit(0)
    died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    saved = root / f"{at}.saved"
    newest = checkpoint.load_newest(run)
    step = newest and newest.checkpoint.step
    value = newest and newest.checkpoint.tensors["w"][0].item()
    found.append([died, int(saved.read_text()) if saved.exists() else 0, step, newest and newest.problems, value])
    if not died:
        break
print(json.dumps(found))
"""


def test_a_kill_at_every_call_of_a_save_leaves_a_whole_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _DRIVER, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    *killed, last = found
    assert last == [False, 3, 3, [], 3.0]
    assert len(killed) > 20  # three saves of several calls each
    for died, saved, newest, problems, value in killed:
        assert died
        assert problems in ([], None)
        assert newest in ((None, 1) if saved == 0 else (saved, saved + 1))
        assert value == newest


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "flipped"])
def test_a_damaged_file_is_found_and_the_one_before_is_used(tmp_path: Path, name: str, damage: str) -> None:
    import torch

    for step in (1, 2):
        state = {"seed": 5, "note": "a" * 50}
        found = checkpoint.Checkpoint(step, {"w": torch.full((9,), float(step))}, state)
        folder = checkpoint.save(tmp_path, found, keep=2)
    path = folder / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"missing": b"", "empty": b"", "half": whole[:middle], "flipped": flipped}[damage])
    if damage == "missing":
        path.unlink()
    newest, problems = checkpoint.load_newest(tmp_path) or (None, [])
    assert newest is not None
    assert newest.step == 1
    assert len(problems) == 1
    assert "step-2 is damaged" in problems[0]


@pytest.mark.long
@pytest.mark.parametrize("asynchronous", [False, True])
def test_killed_twenty_times_and_resumed_bit_for_bit(
    write_recipe: Callable[..., Path],
    start: Callable[..., Process],
    finish: Callable[..., str],
    wait_for_step: Callable[..., None],
    tmp_path: Path,
    asynchronous: bool,
) -> None:
    """Fourteen at a random moment after a random step, six at a random call inside of a save."""
    path = write_recipe(train={"steps": 260}, checkpoint={"every": 3, "keep": 2, "asynchronous": asynchronous})
    finish(start(path, "--out", tmp_path / "whole"))
    run, draw = tmp_path / "killed", random.Random(0)
    for number in range(20):
        if number % 3 == 2:
            process = start(path, "--out", run, "--resume", fault=f"die_in_save:{draw.randint(3, 80)}")
            process.communicate(timeout=400)
        else:
            process = start(path, "--out", run, "--resume")
            done = max((row["step"] for row in read_metrics(run)), default=0)
            wait_for_step(run, done + draw.randint(1, 8), process)
            time.sleep(draw.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert process.returncode == -signal.SIGKILL
    finish(start(path, "--out", run, "--resume"))
    whole, killed = ({row["step"]: row["loss"] for row in read_metrics(folder)} for folder in (tmp_path / "whole", run))
    assert len(read_metrics(run)) == len(killed) == 260
    assert killed == whole
    for name in ("export/model.safetensors", "checkpoints/step-260/tensors.safetensors"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not [path for path in os.listdir(run / "checkpoints") if path.endswith(".partial")]
