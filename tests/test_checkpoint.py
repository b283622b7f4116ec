"""Checkpoints are whole or absent; damaged ones are skipped."""

import errno
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from unic.errors import InputError
from unic.runs import checkpoint
from unic.runs.checkpoint import Checkpoint
from unic.training.parts import OptimizerState


def save(run: Path, step: int, keep: int = 2) -> Path:
    tensors = {"w": torch.full((3,), float(step)), "count": torch.tensor(step)}
    return checkpoint.save(run, Checkpoint(step, tensors, {"note": "é"}), keep)


def test_round_trip_and_retention(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save(tmp_path, step)
    found, problems = checkpoint.load_newest(tmp_path)
    assert (found.step, found.state, problems) == (15, {"note": "é"}, [])
    assert torch.equal(found.tensors["w"], torch.full((3,), 15.0))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["last", "step-10", "step-15"]
    assert (tmp_path / "checkpoints/last").read_text() == "step-15"


def test_the_newest_save_stays_where_later_ones_were_damaged(tmp_path: Path) -> None:
    save(tmp_path, 400, keep=1)
    (save(tmp_path, 500, keep=2) / "state.json").unlink()
    save(tmp_path, 450, keep=1)  # the run was resumed from 400
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["last", "step-450"]


def test_an_old_save_that_cannot_be_removed_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Like NFS, where a file that is being read cannot leave its folder."""
    save(tmp_path, 1, keep=1)
    remove = shutil.rmtree

    def fails(path: Path, **options: bool) -> None:
        if path.name == "step-1":
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", fails)
    save(tmp_path, 2, keep=1)
    assert (tmp_path / "checkpoints/last").read_text() == "step-2"
    assert re.search(r"step-1 .*\(Directory not empty\)", caplog.text)


@pytest.mark.parametrize("damage", ["truncate", "flip", "no state", "half state"])
def test_damaged_save_falls_back(tmp_path: Path, damage: str) -> None:
    save(tmp_path, 1)
    folder = save(tmp_path, 2)
    path = folder / "tensors.safetensors"
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-4])
    elif damage == "flip":
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    elif damage == "no state":
        (folder / "state.json").unlink()
    else:
        (folder / "state.json").write_text('{"step": 2, "sha')
    found, problems = checkpoint.load_newest(tmp_path)
    assert found.step == 1
    assert "step-2 is damaged" in problems[0]


def test_unfinished_save_is_not_seen(tmp_path: Path) -> None:
    (tmp_path / "checkpoints/.step-7.partial").mkdir(parents=True)
    assert checkpoint.load_newest(tmp_path) is None
    save(tmp_path, 7)
    assert checkpoint.load_newest(tmp_path).checkpoint.step == 7


def test_nothing_whole_is_an_error(tmp_path: Path) -> None:
    (save(tmp_path, 1) / "state.json").unlink()
    with pytest.raises(InputError, match="no whole checkpoint"):
        checkpoint.load_newest(tmp_path)


def test_optimizer_state_round_trip() -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    other = torch.optim.AdamW(model.parameters(), fused=True)
    OptimizerState(SimpleNamespace(optimizer=other)).load_state_dict(
        OptimizerState(SimpleNamespace(optimizer=optimizer)).state_dict()
    )
    for a, b in zip(optimizer.state.values(), other.state.values(), strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)
