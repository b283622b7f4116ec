"""Checkpoints: safetensors and JSON, saved atomically, verified by checksum when read, never a pickle.

checkpoints/step-500/{tensors.safetensors, state.json}      a checkpoint
checkpoints/step-500/SHA256SUMS                             its checksums, written last; `sha256sum -c` reads them, too
checkpoints/last, checkpoints/best                          text files that name a folder
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unic._regular_files import read_json, read_text
from unic.digest import sha256_of_file
from unic.errors import InputError, reason_of
from unic.files import sync, write_text, written
from unic.runs.folder import RunFolder

_SUMS = "SHA256SUMS"

log = logging.getLogger("unic")


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint: the step after which it was saved, tensors by name, and plain JSON values."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


class Newest(NamedTuple):
    """The newest undamaged checkpoint of a run, and a line for each damaged one that was skipped."""

    checkpoint: Checkpoint
    problems: list[str]


def save(run: Path, checkpoint: Checkpoint, keep: int, best: int | None = None) -> Path:
    """Writes `run/checkpoints/step-N`, points `last` at it and prunes older ones down to `keep`.

    The folder appears under its final name only when everything in it is on the disk, so a kill at any moment leaves
    the previous checkpoint in place.

    Args:
        keep: number of newest checkpoints to keep.
        best: step of a further checkpoint to keep.

    Raises:
        OSError: the checkpoint cannot be written, for example on a full disk. Earlier ones are untouched.
    """
    root = RunFolder(run).checkpoints
    final = root / f"step-{checkpoint.step}"
    partial = root / f".step-{checkpoint.step}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write(partial, checkpoint)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)  # on a full disk the rest of the run needs the space
        raise
    if final.exists():  # left by a run that was resumed from an older step
        shutil.rmtree(final)
    partial.rename(final)
    sync(root)
    write_text(root / "last", final.name, alone=True, synced=True)
    if best is not None:
        write_text(root / "best", f"step-{best}", alone=True, synced=True)
    _prune(root, keep, best, checkpoint.step)
    return final


def load_newest(run: Path) -> Newest | None:
    """Reads the newest undamaged checkpoint; None without checkpoints.

    Raises:
        InputError: all checkpoints are damaged.
    """
    problems: list[str] = []
    for folder in _folders(RunFolder(run).checkpoints):
        try:
            return Newest(_load(folder), problems)
        except Exception as error:  # whatever is wrong with a damaged file, an older checkpoint is better than none
            problems.append(f"checkpoint {folder.name} is damaged ({reason_of(error)}); trying an older one")
    if problems:
        raise InputError(f"run {run}: no whole checkpoint left; {problems[0]}")
    return None


def newest_state(run: Path) -> tuple[int, dict[str, Any]] | None:
    """Step and plain values of the newest readable checkpoint, whose tensors are not read; None without any."""
    for folder in _folders(RunFolder(run).checkpoints):
        with suppress(
            OSError, ValueError, KeyError, TypeError
        ):  # it is damaged; an older one says the same about the run
            document = read_json(folder / "state.json")
            return int(document["step"]), dict(document["state"])
    return None


def newest_step(run: Path) -> int | None:
    """The step of the newest checkpoint, from the name of its folder."""
    folders = _folders(RunFolder(run).checkpoints)
    return _step_of(folders[0]) if folders else None


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    try:
        with written(folder / "tensors.safetensors", alone=True) as partial:
            save_file(tensors, partial)
    except SafetensorError as error:  # also raised for a full disk, with the errno in its text only
        code = re.search(r"(?:os error|code:) (\d+)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1]))) from None
    (folder / "state.json").write_text(json.dumps({"step": checkpoint.step, "state": checkpoint.state}))
    sums = [f"{_sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / _SUMS).write_text("".join(sums))
    for path in folder.iterdir():
        sync(path)
    sync(folder)


def _load(folder: Path) -> Checkpoint:
    document = read_json(folder / "state.json")
    if "sha256" in document:  # version 0.1 had no file of checksums
        sums = {"tensors.safetensors": document["sha256"]}
    else:
        lines = read_text(folder / _SUMS).splitlines()
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        if sums.get("state.json") != _sha256(folder / "state.json"):
            raise ValueError("checksum of state.json does not match")
    if sums.get("tensors.safetensors") != _sha256(folder / "tensors.safetensors"):
        raise ValueError("checksum of tensors.safetensors does not match")
    return Checkpoint(document["step"], load_file(folder / "tensors.safetensors"), document["state"])


def _folders(root: Path) -> list[Path]:
    """The folders of checkpoints, newest first."""
    found = [path for path in root.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=_step_of, reverse=True)


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _prune(root: Path, keep: int, best: int | None, newest: int) -> None:
    """Removes old checkpoints. Later steps than `newest` are damaged: the run was resumed from before them."""
    found = _folders(root)
    kept = [folder for folder in found if _step_of(folder) <= newest][:keep]
    old = [folder for folder in found if folder not in kept and _step_of(folder) != best]
    for folder in [*old, *root.glob(".step-*.partial")]:  # the partial ones are of a run that was killed while it saved
        try:
            shutil.rmtree(folder)
        except OSError as error:  # the new checkpoint is saved, so this is not a failure
            log.warning("old checkpoint %s cannot be removed (%s)", folder, error.strerror or error)


def _sha256(path: Path) -> str:
    if not path.is_file():  # opening a pipe waits for a writer
        raise ValueError(f"no file {path.name}")
    return sha256_of_file(path)
