"""Completion, called as the shell's own script calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unic import _completion


def offered(line: str, folder: Path) -> list[str]:
    words = line.split(" ")
    environment = {
        **os.environ, "_UNIC_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip
    code = "import sys; sys.argv = ['unic']; from unic import cli; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("unic dis", ["distill"]),
        ("unic export --form", ["--format"]),
        ("unic distill quick", ["quickstart"]),
        ("unic check my", ["my.yaml"]),
        ("unic distill quickstart train.epo", ["train.epochs="]),
        ("unic eval tim", ["timm:"]),
        ("unic init --student open", ["open_clip:"]),
        ("unic eval x --tasks knn,logi", ["knn,logistic"]),
        ("unic list enc", ["encoders"]),
    ],
)
def test_a_key_that_is_pressed(line: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "my.yaml").touch()
    assert offered(line, tmp_path) == expected


def test_it_loads_nothing_heavy() -> None:
    code = "import sys; from unic import _completion as c\n"
    code += "[f('') for f in (c.recipes, c.keys, c.encoders, c.tasks)]\n"
    code += "assert not {'torch', 'timm', 'numpy', 'datasets'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_are_those_of_files() -> None:
    assert {"timm:", "run:", "pixels:"} <= set(_completion.encoders(""))
    assert "base:" not in _completion.encoders("")
    assert "knn" in _completion.tasks("")
    assert {"quickstart", "unic-vitb16"} <= set(_completion.recipes(""))
    assert {"train.lr=", "eval.suite=", "teachers.cache.views="} <= set(_completion.keys(""))
