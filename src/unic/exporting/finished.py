"""The folder of an export: which model it holds already, and how new files are added, either all of them or none."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from unic._regular_files import read_json
from unic.arguments import argument
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError
from unic.exporting.timm import timm_config
from unic.runs.export_folder import ExportFolder

log = logging.getLogger("unic")

_STAGE = ".export-"  # prefix of the folder that files are first written to


def model_in(folder: Path, encoder: TimmEncoder) -> Literal["none", "same", "other"]:
    """Whether a folder holds this model, by its network, input size, normalisation and every weight."""
    try:
        config = read_json(ExportFolder(folder).config)
        weights = load_file(ExportFolder(folder).weights)
        is_one = _decides(config) == _decides(timm_config(encoder))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return "none"  # an incomplete export does not count
    ours = encoder.model.state_dict()
    same = is_one and weights.keys() == ours.keys() and all(_equal(weights[name], ours[name]) for name in ours)
    return "same" if same else "other"


def check_addition(folder: Path, found: Literal["none", "same", "other"]) -> None:
    """Refuses a folder of the user's choice that holds anything but an export of the same model.

    Args:
        folder: that was chosen.
        found: answer of `model_in` for the folder.

    Raises:
        InputError: the folder holds something else.
    """
    if found == "other":
        raise InputError(f"{argument('to')} {folder}: it holds the export of another model; name another folder")
    if found == "none" and folder.is_dir() and set(folder.iterdir()) - set(folder.glob(f"{_STAGE}*")):
        raise InputError(f"{argument('to')} {folder}: the folder is not empty and holds no export; name another folder")


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A folder to write into. After the block its files are moved to `target`; if the block fails, none are.

    The log names each file that is replaced.
    """
    is_new = not target.is_dir()
    target.mkdir(parents=True, exist_ok=True)
    for left in target.glob(f"{_STAGE}*"):  # by exports that were killed
        shutil.rmtree(left, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=target))
    try:
        yield stage
        files = [path.relative_to(stage) for path in stage.rglob("*") if path.is_file()]
        last = ExportFolder(stage).config.relative_to(stage)  # so that a folder with a config is a complete one
        for file in sorted(files, key=lambda file: (file == last, file)):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            if (target / file).exists():
                log.warning("export %s: %s is replaced", target, file)
            os.replace(stage / file, target / file)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if is_new and not any(target.iterdir()):
            target.rmdir()


def remove_graphs(target: Path) -> None:
    """Removes the graphs of an export whose model is replaced, and logs their names."""
    for path in ExportFolder(target).beside_the_weights:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        else:
            continue
        log.warning("export %s: %s is removed, because it has the previous weights", target, path.name)


def _decides(config: dict[str, Any]) -> tuple[Any, ...]:
    chosen = config["pretrained_cfg"]
    numbers = [list(map(float, chosen[key])) for key in ("input_size", "mean", "std")]
    return config["architecture"], dict(config.get("model_args") or {}), numbers


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other.detach().cpu())
