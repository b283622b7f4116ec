"""Failures after the training are found before it: by `check`, by `--dry-run`, and at the start of `distill`."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from unic import api, cli
from unic.errors import InputError
from unic.recipe.schema import load_recipe


@pytest.fixture
def written(recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNIC_SAMPLES", str(tmp_path / "no-samples"))
    monkeypatch.setenv("UNIC_DATA", str(tmp_path / "no-data"))
    Path("toy.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path


SUITES = [
    ("{data: [clipart]}", "data 'clipart'.*train.parquet"),
    ("{data: [aircraft]}", "aircraft"),
    ("{data: ['own=nowhere']}", "data 'nowhere'"),
    ("{data: ['own=IMAGES']}", r"'IMAGES\?test=0\.2&seed=0'"),
    ("{data: ['own=IMAGES?test=0.25'], tasks: {knm: {}}}", "task.*'knm'.*'knn'"),
    ("{data: ['own=IMAGES?test=0.25'], tasks: {knn: {kk: 3}}}", "task 'knn'.*'kk'.*'k'"),
    ("{data: ['own=IMAGES?test=0.25'], tasks: {knn: {k: ten}}}", "task 'knn'.*'k'.*integer"),
    ("{data: ['own=IMAGES?test=0.25'], tasks: {logistic: {C: low}}}", "task 'logistic'.*'C'"),
    ("{data: ['own=IMAGES?test=0.25'], tasks: {knn: {data: [b]}}}", "task 'knn'.*set 'b'"),
    ("{data: ['own=IMAGES?test=0.25'], tasks: {segmentation: {}}}", "'own'.*labels.*no task"),
    ("{data: ['own=IMAGES?test=0.25'], tasks: {robustness: {}}}", "robustness.*'own'.*corruptions"),
    ("{dta: [clipart]}", "'eval.suite': 'dta'"),
    ("{data: ['own=OTHER'], unseen: ['new=IMAGES?test=0.25']}", "'new'.*unseen.*'IMAGES'.*data.train"),
    ("{data: ['own=OTHER'], unseen: [clipart]}", "data 'clipart'.*train.parquet"),
]


@pytest.mark.parametrize(("suite", "line"), SUITES)
def test_a_suite_that_cannot_be_measured(
    written: Path,
    image_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    suite: str,
    line: str,
) -> None:
    if "OTHER" in suite:
        other = Path(shutil.copytree(image_folder, tmp_path_factory.mktemp("other") / "images"))
        suite = suite.replace("OTHER", f"{other}?test=0.25")
    override = f"eval.suite={suite.replace('IMAGES', str(image_folder))}"
    line = line.replace("IMAGES", re.escape(str(image_folder)))
    for command in (["check"], ["distill", "--dry-run"], ["distill"]):
        sys.argv = ["unic", command[0], "toy.yaml", override, *command[1:]]
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        assert stop.value.code == 2
        assert re.search(line, " ".join((said.out if command == ["check"] else said.err).split())), command
    assert [path.name for path in written.iterdir()] == ["toy.yaml"]


def test_images_that_are_not_here(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["check"], ["distill", "--dry-run"], ["distill"]):
        sys.argv = ["unic", command[0], "toy.yaml", "data.train=samples/clipart/train.parquet", *command[1:]]
        with pytest.raises(SystemExit):
            cli.main()
        said = capsys.readouterr()
        assert "UNIC_SAMPLES" in " ".join(f"{said.out} {said.err}".split())


def test_looks_that_no_set_suits_are_found_by_a_check_and_a_dry_run(
    recipe: dict[str, Any], image_folder: Path, tmp_path: Path
) -> None:
    """The k-NN during training takes every fifth image of a class as a query; here no class has two images."""
    for number, image in enumerate(sorted(image_folder.rglob("*.png"))[:4]):
        for split in ("train", "test"):
            place = tmp_path / "set" / split / f"class{number}" / f"{split}{number}.png"
            place.parent.mkdir(parents=True)
            place.write_bytes(image.read_bytes() + split.encode())
    recipe["eval"] = {"suite": {"data": [f"own={tmp_path / 'set'}"], "tasks": {"knn": {}}}, "every": 2}
    settings = load_recipe(recipe)
    with pytest.raises(InputError, match="4 training images"):
        api.dry_run(settings)
    errors = [finding.text for finding in api.check(settings).findings if finding.level == "error"]
    assert len(errors) == 1
    assert "4 training images" in errors[0]


def test_a_suite_in_a_recipe_is_one_of_a_file(recipe: dict[str, Any], image_folder: Path, tmp_path: Path) -> None:
    recipe["eval"] = {"suite": {"data": [f"own={image_folder}?test=0.25"], "tasks": {"knn": {"k": 3}}, "seeds": [0]}}
    recipe["train"]["steps"] = 2
    run = api.distill(recipe, out=tmp_path / "run")
    assert "own/knn" in (run / "results.json").read_text()
    assert load_recipe(run / "recipe.yaml").eval.suite == recipe["eval"]["suite"]
