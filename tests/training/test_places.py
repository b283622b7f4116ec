"""A run goes on after its files have moved, and from another working folder; what they hold must be the same."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from rich.console import Console

from unic import api
from unic.api.evaluating import stages_of
from unic.data.shards.writing import write_shards
from unic.data.sources import open_source
from unic.encoders import build_encoder
from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.runs.metrics import read_metrics
from unic.training.places import found_from
from unic.training.train import fit

QUIET = Console(quiet=True)
VIT = "timm:test_vit?pretrained=false&img_size=32"


@pytest.fixture
def work(recipe: dict[str, Any], image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A recipe whose images and weight files, of a teacher and of the student, lie in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unic.api.distilling.finish", lambda folder, *_: folder)
    shutil.copytree(image_folder, "data")
    state = {name.removeprefix("model."): tensor for name, tensor in build_encoder(VIT).state_dict().items()}
    safetensors.torch.save_file(state, "weights.safetensors")
    uri = "timm:test_vit?checkpoint=weights.safetensors&img_size=32&mean=imagenet&std=imagenet"
    recipe["teachers"]["models"]["vit"] = recipe["student"]["model"] = uri
    recipe["data"]["train"] = [{"path": "data", "weight": 2}]
    recipe["train"]["steps"] = 4
    recipe["checkpoint"]["every"] = 2
    return recipe


def begin(work: dict[str, Any], *overrides: str) -> None:
    """Two of four steps, in `run`; and all of them in `whole`."""
    fit(load_recipe(work, overrides), Path("whole"), console=QUIET)
    shutil.copytree("whole", "run")
    shutil.rmtree("run/checkpoints/step-4")


def resume(recipe: Any, *overrides: str, run: str = "run") -> None:
    api.distill(load_recipe(recipe, overrides, has_begun=True), out=run, console=QUIET, resume=True)


def weights(run: str) -> bytes:
    return (Path(run) / "checkpoints/step-4/tensors.safetensors").read_bytes()


def test_images_and_weights_that_have_moved(work: dict[str, Any]) -> None:
    begin(work)
    shutil.copytree("data", "disk/data", copy_function=shutil.copyfile)  # with other times
    shutil.rmtree("data")
    Path("disk/w").mkdir()
    Path("weights.safetensors").rename("disk/w/renamed.safetensors")
    uri = "timm:test_vit?checkpoint=disk/w/renamed.safetensors&img_size=32&mean=imagenet&std=imagenet"
    resume(
        Path("run/recipe.yaml"), "data.train=[{path: disk/data, weight: 2}]",
        f"teachers.models.vit='{uri}'", f"student.model='{uri}'",
    )  # fmt: skip
    assert weights("run") == weights("whole")
    moves = [line for line in Path("run/train.log").read_text().splitlines() if "moved: " in line]
    assert len(moves) == 3
    assert any("disk/data (was data)" in line for line in moves)


@pytest.mark.parametrize("recipe_file", ["run/recipe.yaml", None])
def test_from_another_working_folder(
    work: dict[str, Any], monkeypatch: pytest.MonkeyPatch, recipe_file: str | None
) -> None:
    begin(work)
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    resume(Path("..") / recipe_file if recipe_file else work, run="../run")
    assert weights("../run") == weights("../whole")
    resume(Path("../run/recipe.yaml"), run="../run")  # again
    assert [row["step"] for row in read_metrics(Path("../run"))] == [1, 2, 3, 4]


def test_a_run_is_exported_and_its_teachers_are_found_from_another_folder(
    work: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(work)
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert (api.export("../whole") / "model.safetensors").is_file()
    teacher = stages_of(Path("../whole"))[0].teachers.uris["vit"]
    assert str(Path("..").resolve() / "weights.safetensors") in teacher


def test_other_images_of_the_same_count_are_refused(work: dict[str, Any]) -> None:
    begin(work)
    shutil.copytree("data", "other")
    next(Path("other").rglob("*.png")).write_bytes(b"shorter")
    with pytest.raises(InputError, match=r"training images.* data\.train\.path 1: other \(was data\)"):
        resume(Path("run/recipe.yaml"), "data.train=[{path: other, weight: 2}]")


def test_a_moved_source_keeps_its_weight(work: dict[str, Any]) -> None:
    begin(work)
    Path("data").rename("moved")
    with pytest.raises(InputError, match=r"'data\.train' was .*'weight': 2"):
        resume(Path("run/recipe.yaml"), "data.train=moved")


def test_other_weights_of_a_teacher_are_refused(work: dict[str, Any]) -> None:
    begin(work)
    state = safetensors.torch.load_file("weights.safetensors")
    state["cls_token"] += 1
    safetensors.torch.save_file(state, "other.safetensors")
    uri = work["student"]["model"].replace("weights", "other")
    with pytest.raises(InputError, match="teacher 'vit' has other weights"):
        resume(Path("run/recipe.yaml"), f"teachers.models.vit='{uri}'")


def test_another_mean_of_the_student_is_refused(work: dict[str, Any]) -> None:
    Path("config.json").write_text(json.dumps({"architecture": "test_vit", "mean": [0.5] * 3, "std": [0.5] * 3}))
    Path("model.safetensors").write_bytes(Path("weights.safetensors").read_bytes())
    work["student"]["model"] = "timm:test_vit?checkpoint=model.safetensors&img_size=32"
    begin(work)
    Path("other").mkdir()
    shutil.copy("model.safetensors", "other/model.safetensors")
    text = Path("config.json").read_text().replace("0.5", "0.25")
    Path("other/config.json").write_text(text)
    with pytest.raises(InputError, match=r"student's mean.*\[0\.5, 0\.5, 0\.5\] .* \[0\.25"):
        resume(
            Path("run/recipe.yaml"), "student.model='timm:test_vit?checkpoint=other/model.safetensors&img_size=32'"
        )  # fmt: skip


def test_stages_and_patterns_are_found_too(
    work: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("suite.yaml").write_text("data: [emoji]")
    Path("part-000.tar").touch()
    work["stages"] = [{"data.train": ["data", "part-{000..003}.tar"]}, {"data": {"train": "part-*.tar"}}]
    work["eval"] = {"suite": "suite.yaml"}
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    found = found_from(load_recipe(work), tmp_path)
    assert found.stages == [
        {"data.train": [f"{tmp_path}/data", f"{tmp_path}/part-{{000..003}}.tar"]},
        {"data": {"train": f"{tmp_path}/part-*.tar"}},
    ]
    assert found.eval.suite == f"{tmp_path}/suite.yaml"
    assert found.teachers.uris["cnn"] == work["teachers"]["models"]["cnn"]


def test_sets_of_a_suite_that_the_recipe_writes_are_found_too(
    work: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work["eval"] = {"suite": {"data": ["a=data"], "unseen": ["b=data?test=0.5", "stamps"]}}
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    suite = found_from(load_recipe(work), tmp_path).eval.suite
    assert suite == {"data": [f"a={tmp_path}/data"], "unseen": [f"b={tmp_path}/data?test=0.5", "stamps"]}


@pytest.mark.parametrize("kind", ["folder", "limit", "shards", "parts"])
def test_a_copy_with_other_times_has_the_same_portable_fingerprint(
    image_folder: Path, tmp_path: Path, kind: str
) -> None:
    first = tmp_path / "first"
    if kind == "shards":
        write_shards(open_source(str(image_folder)), first)
    else:
        shutil.copytree(image_folder, first)
    shutil.copytree(first, tmp_path / "copy")
    for file in (path for path in (tmp_path / "copy").rglob("*") if path.is_file()):
        os.utime(file, (1, 1))
    option = "?test=0.5" if kind == "parts" else ""
    sources = [
        open_source(f"{tmp_path / name}{option}", limit=7 if kind == "limit" else None) for name in ("first", "copy")
    ]
    assert sources[0].portable_fingerprint() == sources[1].portable_fingerprint()
    assert sources[0].fingerprint() != sources[1].fingerprint()


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("run:run", "run:{0}/run"),
        ("onnx:m.onnx?size=32", "onnx:{0}/m.onnx?size=32"),
        ("timm:test_vit?checkpoint=my%20w.pth&img_size=32", "timm:test_vit?checkpoint={0}/my w.pth&img_size=32"),
        ("timm:test_vit?img_size=32", "timm:test_vit?img_size=32"),
    ],
)
def test_the_file_of_a_uri(recipe: dict[str, Any], tmp_path: Path, uri: str, found: str) -> None:
    for name in ("run", "m.onnx", "my w.pth"):
        (tmp_path / name).touch()
    recipe["teachers"]["models"] = {"a": uri}
    settled = found_from(load_recipe(recipe), tmp_path)
    assert settled.teachers.uris["a"] == found.format(tmp_path)


def test_a_pattern_of_a_stranger_walks_no_disk(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "walk", lambda *_, **__: pytest.fail("it walks"))
    recipe["data"]["train"] = "/**/nothing-of-this-name"
    begun = time.monotonic()
    found_from(load_recipe(recipe), Path("/nowhere"))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("path", ["generated:strokes?seed=1&images=9", "py:my_lab.archive:Archive?test=2&db=a.db"])
def test_images_that_a_function_makes_have_no_place(recipe: dict[str, Any], tmp_path: Path, path: str) -> None:
    recipe["data"]["train"] = path
    found = found_from(load_recipe(recipe), tmp_path)
    assert [entry.path for entry in found.data.train] == [path]
