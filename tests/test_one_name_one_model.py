"""Runs and other models in one table, from real run folders: every model has a column, and no column has two."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from unic import api
from unic.errors import InputError
from unic.eval.results.schema import Protocol
from unic.recipe.schema import load_recipe, load_run_recipe
from unic.reporting.sections.pictures import draw_pictures
from unic.training.train import fit


@pytest.fixture(scope="module")
def trained(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a student, and a set to measure it on."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = {
        "teachers": {"models": {"t": "timm:test_vit?pretrained=false&img_size=32"}},
        "student": {"model": "timm:test_vit?pretrained=false&img_size=32"},
        "projector": {"type": "ladder", "hidden_dim": 8, "last_hidden_dim": 16},
        "data": {"train": str(image_folder), "size": 32, "workers": 0},
        "train": {"steps": 1, "batch_size": 8, "warmup_epochs": 0},
        "trackers": {},
    }
    fit(load_recipe(recipe), folder / "run", console=Console(quiet=True))
    api.export(folder / "run")
    (folder / "set").mkdir()
    for split in ("train", "test"):
        (folder / "set" / split).symlink_to(image_folder)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Any:
    """Makes a run folder of the same student with other teachers, as an older version may have left it."""

    def make(name: str, **teachers: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(trained / "run" / "export", folder / "export")
        recipe = yaml.safe_load((trained / "run" / "recipe.yaml").read_text())
        recipe["teachers"]["models"] = teachers
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
        return folder

    return make


def measured(trained: Path, models: Any, **options: Any) -> dict[str, tuple[str, str]]:
    results = api.evaluate(
        models,
        data={"x": f"{trained / 'set'}?overlap=allow"},
        tasks=["knn"],
        seeds=[0],
        console=Console(quiet=True),
        **options,
    )
    found = {name: (model["role"], model["uri"]) for name, model in results["models"].items()}
    assert results["tasks"]["x/knn"].keys() == found.keys()
    return found


def test_a_run_named_like_its_teacher(trained: Path, run: Any) -> None:
    found = measured(trained, [run("vit", vit="pixels:8"), "pixels:4"])
    assert found["vit"][0] == "student"
    assert found["vit/vit"] == ("teacher", "pixels:8")


@pytest.mark.parametrize("name", ["student", "start", "pixels", "concat"])
def test_a_teacher_called_as_a_column(trained: Path, run: Any, name: str) -> None:
    found = measured(trained, [run("old", **{name: "pixels:8", "vit": "pixels:16"})])
    assert list(found) == ["student", f"old/{name}", "vit", "pixels", "concat"]
    assert found["student"][0] == "student"
    assert found[f"old/{name}"] == ("teacher", "pixels:8")
    assert found["pixels"] == ("pixels", "pixels:32")
    assert found["concat"] == ("concat", f"concat:old/{name}+vit")


def test_two_runs_and_a_model_share_what_is_the_same(trained: Path, run: Any) -> None:
    runs = {"a": run("a", dino="pixels:8", cnn="pixels:16"), "b": run("b", dino="pixels:4", cnn="pixels:16")}
    found = measured(trained, {**runs, "dino": "pixels:4", "grey": "pixels:32"})
    assert {name: entry for name, entry in found.items() if entry[0] == "teacher"} == {
        "a/dino": ("teacher", "pixels:8"), "cnn": ("teacher", "pixels:16"), "dino": ("teacher", "pixels:4"),
    }  # fmt: skip
    assert found["grey"] == ("pixels", "pixels:32")
    assert {name for name, entry in found.items() if entry[0] == "student"} == {"a", "b"}
    assert found.keys() == {"a", "b", "a/dino", "cnn", "dino", "grey", "concat"}


def test_a_role_is_for_the_model_that_was_named(trained: Path, run: Any) -> None:
    found = measured(trained, {"mine": run("mine", vit="pixels:8")}, roles={"mine": "other"})
    assert found["student"][0] == "other"


def test_a_model_called_student(trained: Path, run: Any) -> None:
    assert measured(trained, {"student": "pixels:4"}) == {"student": ("other", "pixels:4")}
    with pytest.raises(InputError, match="model 'student'.*run 'a'"):
        measured(trained, {"student": "pixels:4", "a": run("a", vit="pixels:8")})


def test_pictures_of_an_old_run_show_student_and_teacher(run: Any) -> None:
    folder = run("old", student="pixels:8")
    settings = load_run_recipe(folder)
    assert set(draw_pictures(folder, settings, Protocol()).sizes) == {"student", "old/student"}


def test_an_old_run_is_resumed_and_a_new_one_refused(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {"trackers": {}, "train": {**recipe["train"], "steps": 2}}
    recipe["teachers"]["models"] = {"student": recipe["teachers"]["models"]["vit"]}
    with pytest.raises(InputError, match=r"recipe: 'teachers\.models\.student'.*column 'student'"):
        api.distill(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    fit(load_recipe(recipe, has_begun=True), tmp_path / "run", console=Console(quiet=True))
    folder = api.distill(recipe, out=tmp_path / "run", resume=True, console=Console(quiet=True))
    assert (folder / "export" / "config.json").is_file()
