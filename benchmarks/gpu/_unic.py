"""The command line of unic, as a user calls it on this machine."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from _part import ROOT


def unic(options: argparse.Namespace, *arguments: object) -> None:
    """Runs a command with an empty cache of its own; what it says goes to the log of the part."""
    own = os.environ | {"UNIC_CACHE": str(options.folder / "cache")}
    command = [sys.executable, "-m", "unic", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=own, check=False, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"unic {arguments[0]}: exit code {done.returncode}")


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def is_on(device: str, run: Path) -> bool:
    """Whether a run was on the device; torch takes the GPU by itself, and the CPU where it finds none."""
    return (json.loads((run / "environment.json").read_text())["device"] == "cpu") == (device == "cpu")
