"""What a run writes into its folder at the start: the resolved recipe and the environment."""

from __future__ import annotations

import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator

from unic._regular_files import read_json
from unic.cores import threads_beside
from unic.files import write_text
from unic.recipe.schema import Recipe
from unic.runs.folder import RunFolder


def write_start(folder: Path, recipe: Recipe, accelerator: Accelerator) -> None:
    """Writes the resolved recipe and the environment. The time of the start stays that of the first attempt."""
    import timm

    run = RunFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(run.recipe, recipe.to_yaml(), alone=True, synced=True)
    environment = {
        "unic": version("unic-distill"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "device": torch.cuda.get_device_name() if accelerator.device.type == "cuda" else str(accelerator.device),
        "cpu": platform.processor() or platform.machine(),
        "threads": threads_beside(recipe.data.workers),
        "processes": accelerator.num_processes,
        "started": _started(run) or time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    write_text(run.environment, json.dumps(environment, indent=2), alone=True, synced=True)


def _started(run: RunFolder) -> str:
    """When the run was first started, or "". A resume and a later stage write the environment again."""
    try:
        return str(read_json(run.environment)["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
