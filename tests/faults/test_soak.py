"""Nothing grows: a minute of steps with saves and logs, measured by the program that is run for hours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.long
def test_memory_and_handles_stay(tmp_path: Path) -> None:
    """A leak of one batch (100 kB) or one handle a step would be thousands an hour."""
    out = tmp_path / "soak.json"
    command = [sys.executable, str(SOAK), "--minutes", "1.5", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    slope, half = found["memory_mb_per_hour"]
    assert slope - half < 500
    assert found["handles"][1] - found["handles"][0] <= 4
