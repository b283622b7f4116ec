"""A place that cannot be written is told before the work, in one line; the exit code says whose fault it is."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from unic import api, cli
from unic.encoders import Encoder
from unic.errors import InputError, StoppedError
from unic.outputs import check_writable
from unic.recipe.schema import load_recipe
from unic.terminal import stderr_console
from unic.training.train import fit

STUDENT = "timm:test_vit?pretrained=false&img_size=32"
COMMANDS = [
    ["eval", "pixels:8", "--data", "mine=images", "--tasks", "knn", "--out", "OUT/r.json"],
    ["encode", "pixels:8", "--data", "images", "--out", "OUT/f.safetensors"],
    ["distill", "--teachers", "pixels:8", "--student", STUDENT, "--data", "images", "--out", "OUT/run"],
    ["shard", "images", "--out", "OUT/shards"],
    ["init", "--teachers", "pixels:8", "--student", STUDENT, "--data", "images", "--out", "OUT/r.yaml"],
    ["export", "run", "--to", "OUT/x"],
    ["report", "run", "--out", "OUT/x.html"],
    ["report", "run", "run", "--out", "OUT/x.html"],
]


@pytest.fixture(scope="module")
def trained(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    tree = {
        "teachers": {"models": {"p": "pixels:8"}},
        "student": {"model": STUDENT},
        "data": {"train": str(image_folder), "size": 32, "workers": 0},
        "train": {"steps": 1, "batch_size": 4},
    }
    fit(load_recipe(tree), out, console=stderr_console())
    return out


@pytest.fixture
def place(tmp_path: Path, image_folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "images").symlink_to(image_folder)
    (tmp_path / "run").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ends(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    sys.argv = ["unic", *arguments]
    with pytest.raises(SystemExit) as stop:
        cli.main()
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert len(lines) == 1, lines
    assert isinstance(stop.value.code, int)
    return stop.value.code, lines[0]


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a command does before it looks at its output, it loads no encoder and reads no checkpoint."""
    for name in (
        "images.load_encoder", "exporting.load_trained", "reporting.write_report", "reporting.write_comparison",
    ):  # fmt: skip
        monkeypatch.setattr(f"unic.api.{name}", lambda *_, **__: pytest.fail("the work has begun"))


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("read_only", "code", "line"),
    [(True, 2, f"cannot write in OUT ({os.strerror(errno.EROFS)})"), (False, 1, "OUT is full")],
    ids=["read-only", "full"],
)
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_a_disk_that_takes_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], file_system: Any, arguments: list[str], read_only: bool,
    code: int, line: str,
) -> None:  # fmt: skip
    with file_system(place / "disk", read_only=read_only) as folder:
        ended, said = ends([part.replace("OUT", str(folder)) for part in arguments], capsys)
    assert ended == code
    assert line.replace("OUT", str(folder)) in said


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_a_path_through_a_file(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    (place / "notes.txt").write_text("mine")
    code, line = ends([part.replace("OUT", "notes.txt/deeper") for part in arguments], capsys)
    assert (code, re.search("notes.txt.*folder", line) is not None) == (2, True), line
    assert (place / "notes.txt").read_text() == "mine"


def test_check_names_it_too(place: Path, file_system: Any) -> None:
    tree = {
        "teachers": {"models": {"p": "pixels:8"}}, "student": {"model": STUDENT},
        "data": {"train": "images", "size": 32, "workers": 0}, "train": {"steps": 1, "batch_size": 4},
    }  # fmt: skip
    with file_system(place / "ro", read_only=True) as folder:
        found = api.check(tree, out=folder / "run")
    assert next(finding.about for finding in found.findings if finding.level == "error") == "out"


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b" / "file.json", named="--out")
    check_writable(tmp_path / "run", named="--out", kind="folder")
    assert list(tmp_path.iterdir()) == []


def test_kinds(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a folder"):
        check_writable(tmp_path, named="--out")
    with pytest.raises(InputError, match="is a file.*folder"):
        check_writable(tmp_path / "file", named="--out", kind="folder")


def test_a_resume_looks_first_too(trained: Path, tmp_path: Path, file_system: Any) -> None:
    with file_system(tmp_path / "full") as folder, pytest.raises(StoppedError, match="is full"):
        api.distill(load_recipe(trained / "recipe.yaml"), out=folder / "run", resume=True)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "weights.bin"), "weights.bin: No such file"),
        (OSError(errno.ENOSPC, "No space left on device"), "unic: No space left on device"),
        (MemoryError(), "unic: out of memory"),
    ],
)
def test_faults_of_the_machine_are_a_line_and_1(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    def fails(*_: object) -> Encoder:
        raise error

    monkeypatch.setattr(api, "compare", fails)
    code, said = ends(["report", "run", "run", "--out", "x.html"], capsys)
    assert (code, line in said, "UNIC_DEBUG" in said) == (1, True, False)
