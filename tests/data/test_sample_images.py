"""Away from the checkout: what a recipe names is found beside it, and `samples/…` where `UNIC_SAMPLES` says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from unic.data import sample_images
from unic.data.sources import huggingface, open_source
from unic.data.sources._split_names import splits_of
from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.training.places import found_from


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no checkout."""
    monkeypatch.setattr(sample_images, "_CHECKOUT", tmp_path / "no-checkout")
    monkeypatch.delenv("UNIC_SAMPLES", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return tmp_path


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def test_images_a_suite_and_weights_lie_beside_the_recipe(away: Path, recipe: dict[str, Any]) -> None:
    beside = away / "mine"
    picture(beside / "images/a.png")
    (beside / "suite.yaml").write_text("data: [clipart]")
    (beside / "m.onnx").touch()
    recipe |= {"eval": {"suite": "suite.yaml"}, "data": {"train": "images"}}
    recipe["teachers"]["models"]["cnn"] = "onnx:m.onnx"
    (beside / "r.yaml").write_text(yaml.safe_dump(recipe))
    (away / "child.yaml").write_text("base: mine/r.yaml\nseed: 4\n")
    for name in ("mine/r.yaml", "child.yaml"):
        found = found_from(load_recipe(away / name))
        assert found.data.train[0].path == f"{beside}/images"
        assert found.eval.suite == f"{beside}/suite.yaml"
        assert found.teachers.uris["cnn"] == f"onnx:{beside}/m.onnx"
    picture(Path("images/b.png"))  # what is in the working folder comes first
    assert found_from(load_recipe(away / "mine/r.yaml")).data.train[0].path == "images"


def test_the_samples_are_where_the_variable_says(
    away: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(away / "pictures/clipart/train/x.png")
    recipe |= {"data": {"train": "samples/clipart"}, "eval": {"suite": {"data": ["own=samples/clipart"]}}}
    monkeypatch.setenv("UNIC_SAMPLES", str(away / "pictures"))
    found = found_from(load_recipe(recipe))
    assert found.data.train[0].path == f"{away}/pictures/clipart"
    assert found.eval.suite == {"data": [f"own={away}/pictures/clipart"]}


def test_a_checkout_has_them_as_well(away: Path, recipe: dict[str, Any]) -> None:
    picture(away / "no-checkout/clipart/train/x.png")
    recipe["data"]["train"] = "samples/clipart"
    assert found_from(load_recipe(recipe)).data.train[0].path == f"{away}/no-checkout/clipart"
    shutil.rmtree(away / "no-checkout")
    assert found_from(load_recipe(recipe)).data.train[0].path == "samples/clipart"


def test_images_of_a_call_are_looked_for_in_the_same_places(away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(away / "no-checkout/clipart/train/cat/x.png")
    picture(away / "no-checkout/clipart/test/cat/x.png")
    source = open_source("samples/clipart")
    assert source.path == f"{away}/no-checkout/clipart"
    assert open_source("samples/clipart/{split}", split="test").name(0) == "cat/x.png"
    assert splits_of("samples/clipart") == ["test", "train"]
    monkeypatch.setenv("UNIC_SAMPLES", str(away / "pictures"))
    picture(away / "pictures/clipart/a.png")
    assert open_source("samples/clipart").path == f"{away}/pictures/clipart"
    picture(Path("samples/clipart/b.png"))  # what is in the working folder comes first
    assert open_source("samples/clipart").path == "samples/clipart"


@pytest.mark.parametrize("path", ["samples/none", "samples/train.parquet", "pictures/a.parquet", "a/b.tar", "a/b.csv"])
def test_the_hub_is_not_asked_for_what_is_spelled_like_a_file(
    away: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface, "open_hub", lambda *_: pytest.fail("asked"))
    monkeypatch.setattr("unic.data.sources._split_names.on_the_hub", lambda *_: pytest.fail("asked"))
    with pytest.raises(InputError, match=f"{path}': no such file"):
        open_source(path)
    assert splits_of(path) == []


def test_without_any_the_line_names_the_variable(away: Path) -> None:
    with pytest.raises(InputError, match="train.parquet': no such file.*UNIC_SAMPLES"):
        open_source("samples/clipart/train.parquet")
    with pytest.raises(InputError, match="no such file[^;]*$"):
        open_source("images/clipart/train.parquet")
