"""One recipe trained with several seeds: the folders, the joint table, what is repeated and what is refused."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

import unic
from unic import cli
from unic.api import distilling
from unic.errors import InputError, PreemptedError
from unic.files import write_bytes
from unic.training.trainings import check_seeds

QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a single run draws pictures, which other tests look at."""
    monkeypatch.setattr("unic.api.reporting.write_report", lambda _, target: write_bytes(target, b"page"))


@pytest.fixture
def measured(recipe: dict[str, Any], image_folder: Path) -> dict[str, Any]:
    """The tiny recipe, shorter, with an evaluation."""
    recipe["train"] |= {"steps": 2}
    suite = {"data": [f"blobs={image_folder}?test=0.5&seed=0"], "tasks": {"knn": {"k": 3}}, "size": 32}
    return recipe | {"trackers": {}, "eval": {"suite": suite}}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders in which a training is begun or gone on with, as they come."""
    folders: list[str] = []
    fit = distilling.fit

    def noted(settings: Any, folder: Path, **options: Any) -> Any:
        folders.append(folder.name)
        assert f"seed-{settings.seed}" == folder.name
        return fit(settings, folder, **options)

    monkeypatch.setattr("unic.api.distilling.fit", noted)
    return folders


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = 0
    sys.argv = ["unic", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    output = capsys.readouterr()
    return code, output.out, output.err


def test_every_seed_is_a_run_and_all_are_one_table(
    measured: dict[str, Any],
    trained: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(yaml.safe_dump(measured))
    code, out, err = command(capsys, "distill", "toy.yaml", "--seeds", "0,1", "--out", "all")
    assert code == 0, err
    assert trained == ["seed-0", "seed-1"]
    assert "2 trainings seed-0, seed-1" in " ".join(out.split())
    results = json.loads(Path("all/results.json").read_text())
    own = [json.loads(Path(f"all/seed-{seed}/results.json").read_text()) for seed in (0, 1)]
    scores = [each["tasks"]["blobs/knn"]["student"]["score"] for each in own]
    row = results["tasks"]["blobs/knn"]
    assert row["student"]["by_training"] == [row[f"seed-{seed}"]["score"] for seed in (0, 1)] == scores
    assert row["student"]["score"] == pytest.approx(sum(scores) / 2)
    assert [results["mean_gains"][f"seed-{seed}"]["gain"] for seed in (0, 1)] == [each["mean_gain"] for each in own]
    assert {name for name, facts in results["models"].items() if facts["role"] == "training"} == {"seed-0", "seed-1"}
    assert results["protocol"]["bootstrap"]["unit"] == "test image, probe seed and training"

    page = Path("all/report.html").read_text()
    assert "mean of 2 trainings" in page
    assert 'href="seed-1/report.html"' in page
    assert command(capsys, "report", "all", "--out", "page.html")[:2] == (0, "page.html\n")
    code, out, err = command(capsys, "eval", "all", "--tasks", "knn(k=1)", "--out", "again.json")
    assert code == 0, err
    assert json.loads(Path("again.json").read_text())["models"]["student"]["trainings"] == ["seed-0", "seed-1"]
    for arguments in (
        ["export", "all"],
        ["report", "all", "all"],
        ["encode", "all", "--data", "x", "--out", "x.safetensors"],
    ):
        code, out, err = command(capsys, *arguments)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert "several trainings" in err
        assert "all/seed-1" in err

    trained.clear()
    assert command(capsys, "distill", "toy.yaml", "--seeds", "0,1", "--out", "all")[0] == 0
    assert trained == []  # all of it was there
    code, _, err = command(capsys, "distill", "toy.yaml", "train.lr=0.02", "--seeds", "2", "--out", "all")
    assert code == 2
    assert re.search(r"all/seed-0: .*'train\.lr'.* 0\.01 .* 0\.02 ", err)
    assert command(capsys, "distill", "toy.yaml", "--seeds", "2", "--resume", "--out", "all")[0] == 0
    assert trained == ["seed-2"]
    results = json.loads(Path("all/results.json").read_text())
    assert results["models"]["student"]["trainings"] == ["seed-0", "seed-1", "seed-2"]


def test_an_interrupted_one_goes_on_and_those_before_it_are_left_alone(
    measured: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, begun = distilling.fit, []

    def stopped(settings: Any, folder: Path, **options: Any) -> Any:
        begun.append(folder.name)
        if settings.seed == 1:
            raise PreemptedError("stopped by a signal")
        return fit(settings, folder, **options)

    monkeypatch.setattr("unic.api.distilling.fit", stopped)
    with pytest.raises(PreemptedError):
        unic.distill(measured, out=tmp_path / "all", seeds=[0, 1], console=QUIET)
    assert begun == ["seed-0", "seed-1"]
    assert not (tmp_path / "all/results.json").exists()
    monkeypatch.setattr(
        distilling,
        "fit",
        lambda settings, folder, **options: begun.append(folder.name) or fit(settings, folder, **options),
    )
    assert unic.distill(measured, out=tmp_path / "all", seeds=[0, 1], console=QUIET) == tmp_path / "all"
    assert begun == ["seed-0", "seed-1", "seed-1"]
    assert (tmp_path / "all/results.json").is_file()


def test_a_single_seed_has_the_table_of_a_run(measured: dict[str, Any], tmp_path: Path) -> None:
    folder = unic.distill(measured, out=tmp_path / "all", seeds=[4], console=QUIET)
    joint, own = (json.loads((place / "results.json").read_text()) for place in (folder, folder / "seed-4"))
    for results in (joint, own):
        del results["duration_s"]
    assert joint == own
    assert "one training" in (folder / "report.html").read_text()


def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    measured: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seeds, line in (([], "at least one seed"), ([0, 1, 0], "0 is named twice"), ([-1], "whole numbers from 0 on")):
        with pytest.raises(InputError, match=line):
            unic.distill(measured, out=tmp_path / "all", seeds=seeds, console=QUIET)
    with pytest.raises(InputError, match="leave out seed="):
        unic.distill(measured, out=tmp_path / "all", seeds=[0], seed=3, console=QUIET)
    with monkeypatch.context() as patched:
        patched.setenv("WORLD_SIZE", "2")
        with pytest.raises(InputError, match="torchrun.*seed=5.*DIR/seed-5"):
            check_seeds([5])
    assert not (tmp_path / "all").exists()
    (tmp_path / "all").mkdir()
    (tmp_path / "all/notes.txt").touch()
    with pytest.raises(InputError, match="no training.*seed-0"):
        unic.distill(measured, out=tmp_path / "all", seeds=[0], console=QUIET)
    (tmp_path / "all/recipe.yaml").touch()
    with pytest.raises(InputError, match="single training"):
        unic.distill(measured, out=tmp_path / "all", seeds=[0], console=QUIET)


def test_a_dry_run_tries_one_of_them(
    measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(yaml.safe_dump(measured))
    code, out, err = command(capsys, "distill", "toy.yaml", "--seeds", "5,6", "--dry-run")
    assert code == 0, err
    assert "seeds 5, 6" in out
    assert [path.name for path in tmp_path.iterdir()] == ["toy.yaml"]
