"""The run folder: when it may be used, and what is written into it at the start."""

from __future__ import annotations

import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator

from unic._regular_files import read_json
from unic.arguments import argument
from unic.checkpoint import write_atomically
from unic.config import Recipe
from unic.cores import threads_beside
from unic.distill import lock
from unic.errors import InputError


def check_free(folder: Path, resume: bool) -> None:
    """Refuses a folder that holds anything but a lock, unless it is to be resumed."""
    if not resume and folder.is_dir() and any(path.name != lock.NAME for path in folder.iterdir()):
        raise InputError(
            f"{argument('out')} {folder}: the folder is not empty; continue that run with {argument('resume', True)}, "
            "or name another folder"
        )


def start(folder: Path, recipe: Recipe, accelerator: Accelerator) -> None:
    """Writes the resolved recipe and the environment. The time of the start stays that of the first attempt."""
    import timm

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "recipe.yaml", recipe.to_yaml())
    environment = {
        "unic": version("unic-distill"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "device": torch.cuda.get_device_name() if accelerator.device.type == "cuda" else str(accelerator.device),
        "cpu": platform.processor() or platform.machine(),
        "threads": threads_beside(recipe.data.workers),
        "processes": accelerator.num_processes,
        "started": _started(folder) or time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    write_atomically(folder / "environment.json", json.dumps(environment, indent=2))


def _started(folder: Path) -> str:
    """When the run was started, if it has been: a resume and a later stage write the environment again."""
    try:
        return str(read_json(folder / "environment.json")["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
