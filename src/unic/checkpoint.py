"""Checkpoints: safetensors and JSON, saved atomically, verified by checksum when read, never a pickle.

checkpoints/step-500/{tensors.safetensors, state.json}      a finished save; state.json is written last
checkpoints/last                                            text: the newest folder's name
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from unic.errors import InputError


@dataclass(frozen=True)
class Checkpoint:
    """What one save holds: the step after which it was taken, tensors by name, and plain JSON values."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save(run: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Writes `run/checkpoints/step-N`, points `last` at it and prunes older ones down to `keep`.

    The folder appears under its final name only when everything in it is on the disk, so a kill at any moment leaves
    the previous checkpoint in place.
    """
    root = run / "checkpoints"
    final = root / f"step-{checkpoint.step}"
    partial = root / f".step-{checkpoint.step}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    save_file(tensors, partial / "tensors.safetensors")
    digest = _sha256(partial / "tensors.safetensors")
    state = {"step": checkpoint.step, "sha256": digest, "state": checkpoint.state}
    (partial / "state.json").write_text(json.dumps(state))
    for path in partial.iterdir():
        _sync(path)
    if final.exists():  # left by a run that was resumed from an older step
        shutil.rmtree(final)
    partial.rename(final)
    _sync(root)
    write_atomically(root / "last", final.name)
    _prune(root, keep)
    return final


def load_newest(run: Path) -> tuple[Checkpoint, list[str]] | None:
    """The newest checkpoint that is whole, and a line for each damaged one that was passed over; None without any."""
    problems: list[str] = []
    for folder in _folders(run / "checkpoints"):
        try:
            return _load(folder), problems
        except Exception as error:  # whatever is wrong with a damaged file, an older checkpoint is better than none
            problems.append(
                f"checkpoint {folder.name} is damaged ({' '.join(str(error).split())}); trying an older one"
            )
    if problems:
        raise InputError(f"run {run}: no whole checkpoint left; {problems[0]}")
    return None


def write_atomically(path: Path, text: str) -> None:
    """Writes a small text file so that a reader sees the old content or the new, never half of it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    _sync(partial)
    os.replace(partial, path)


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's per-parameter state as named tensors (`12/exp_avg`); its groups come from the recipe."""
    states = optimizer.state_dict()["state"]
    return {f"{number}/{key}": value for number, state in states.items() for key, value in state.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition("/")
        states.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _load(folder: Path) -> Checkpoint:
    document = json.loads((folder / "state.json").read_text())
    path = folder / "tensors.safetensors"
    if _sha256(path) != document["sha256"]:
        raise ValueError("checksum does not match")
    return Checkpoint(document["step"], load_file(path), document["state"])


def _folders(root: Path) -> list[Path]:
    """Finished saves, newest first."""
    found = [path for path in root.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)


def _prune(root: Path, keep: int) -> None:
    for folder in _folders(root)[keep:]:
        shutil.rmtree(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
