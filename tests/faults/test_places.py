"""No home, a home that cannot be written, no network: a run works, and writes into its folder and nowhere else."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from unic.features import default_cache_dir

# What a library may ask for its cache; the test decides all of them.
CACHES = ("UNIC_CACHE", "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "home", [pytest.param("/proc", id="read-only", marks=pytest.mark.long), pytest.param("/proc/nowhere", id="absent")]
)
def test_without_a_home_and_a_network(
    write_recipe: Callable[..., Path],
    start: Callable[..., subprocess.Popen[str]],
    finish: Callable[..., str],
    tmp_path: Path,
    home: str,
) -> None:
    """Nothing can be made in /proc, not even by root. A proxy that refuses stands for a network that is not there."""
    path = write_recipe(teachers={"cache": {"views": 1}}, data={"augment": "none"})
    temporary, run = tmp_path / "temporary", tmp_path / "run"
    temporary.mkdir()
    environment: dict[str, str | None] = dict.fromkeys(CACHES)
    environment |= {"HOME": home, "TMPDIR": str(temporary), "HF_HUB_OFFLINE": "1"}
    environment |= dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"), "http://127.0.0.1:9")
    before = files(tmp_path)
    output = finish(start(path, "--out", run, cold=True, **environment))
    assert (run / "report.html").is_file(), output
    assert "failed" not in output
    outside = {name for name in files(tmp_path) - before if not name.startswith("run/")}
    assert all(name.startswith("temporary/") for name in outside), outside
    assert re.search(f"home directory.* {temporary}", (run / "train.log").read_text())


def test_without_any_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No HOME, and a user whom the password file does not know, as in many containers."""
    for name in ("UNIC_CACHE", "HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert default_cache_dir() == tmp_path / "unic-987654"
    assert "home directory" in caplog.text
