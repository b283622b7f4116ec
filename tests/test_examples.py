"""The examples run as they stand, with few steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.teachers, pytest.mark.long]


def run(*arguments, **environment):
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script(tmp_path):
    out = run("examples/two_teachers.py", "--steps", 2, "--out", tmp_path / "run")
    assert "ready: True" in out
    assert "k-NN on clipart, student:" in out
    assert "nearest are" in out
    assert (tmp_path / "run" / "export" / "model.safetensors").is_file()


def test_the_notebook(tmp_path):
    notebook = json.loads((ROOT / "examples" / "two_teachers.ipynb").read_text())
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    # Not as a file: worker processes would run it again, which they do not do with a notebook either.
    out = run("-c", code, STEPS="2", OUT=str(tmp_path / "run"))
    assert "ready: True" in out
    assert "→" in out
