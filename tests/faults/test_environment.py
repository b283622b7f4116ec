"""A recipe reads variables of the environment; what they stood for does not leave the run."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from unic import api
from unic.errors import InputError
from unic.recipe.references import WithReferences, resolve
from unic.recipe.schema import load_recipe, load_run_recipe


def minimal(path: str, **more: Any) -> dict[str, Any]:
    models = {"a": "timm:x?checkpoint=${oc.env:SECRET_PLACE}/w.safetensors"}
    return {"teachers": {"models": models}, "student": {"model": "timm:y"}, "data": {"train": path}, **more}


def test_a_recipe_is_shared_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_PLACE", "/scratch/of/alice")
    monkeypatch.setenv("SHORT", "ab")
    stages = [{"train": {"steps": 3}}]
    recipe = load_recipe(minimal("${oc.env:SECRET_PLACE}/images", seed="${oc.env:NUMBER,7}", stages=stages))
    assert recipe.data.train[0].path == "/scratch/of/alice/images"
    assert recipe.seed == 7
    for plan in (recipe, load_recipe(recipe, ["train.lr=0.1"]), *recipe.plans(), recipe.model_copy()):
        assert "alice" not in plan.to_yaml()
        assert "${oc.env:SECRET_PLACE}/images" in plan.to_yaml()
    assert recipe.shared({"error": ["data '/scratch/of/alice/x': gone"]}) == {
        "error": ["data '${oc.env:SECRET_PLACE}/x': gone"]
    }
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "recipe.yaml").model_dump() == recipe.model_dump()
    monkeypatch.delenv("SECRET_PLACE")
    with pytest.raises(InputError, match="SECRET_PLACE"):
        load_recipe(tmp_path / "recipe.yaml")
    looked_at = load_run_recipe(tmp_path)  # a report needs no images
    assert looked_at.data.train[0].path == "${oc.env:SECRET_PLACE}/images"
    assert looked_at.plans()[0].data.train[0].path == "${oc.env:SECRET_PLACE}/images"


def test_what_a_variable_holds_is_no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTER", "${oc.env:INNER}")
    monkeypatch.setenv("INNER", "secret")
    recipe = load_recipe(minimal("x", stages=[{"train.steps": 3}]) | {"teachers": {"models": {"a": "${oc.env:OUTER}"}}})
    assert recipe.plans()[0].teachers.uris == {"a": "${oc.env:INNER}"}


def test_short_values_are_found_as_wholes_only() -> None:
    known = WithReferences().written_as({"ab": "${oc.env:X}", "ab/c": "${oc.env:X}/c"})
    assert known.shared(["ab", "ab/c", "cabs", 3]) == ["${oc.env:X}", "${oc.env:X}/c", "cabs", 3]
    assert known.hide("ab") == "ab"


def test_letters_are_hidden_as_a_word() -> None:
    known = WithReferences().written_as({"\0train": "${oc.env:SPLIT}", "\0a/b-c": "${oc.env:DIR}"})
    assert known.hide("training of train, a/b-cd") == "training of ${oc.env:SPLIT}, ${oc.env:DIR}d"


def test_a_plain_number_is_no_secret() -> None:
    known = WithReferences().written_as({"\0002000": "${oc.env:STEPS}", "\00012345678": "${oc.env:KEY}"})
    assert known.hide("2000 images, key 12345678") == "2000 images, key ${oc.env:KEY}"


def test_only_plain_references(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"a reference \$\{key\} or \$\{oc.env:NAME\}"):
        resolve({"a": "${oc.decode:x}"}, "suite x")


def test_nothing_that_leaves_a_run_says_it(
    tmp_path: Path, image_folder: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place-of-alice"
    shutil.copytree(image_folder, place / "images")
    (place / "images" / "cold" / "broken.jpg").write_bytes(b"no image")
    monkeypatch.setenv("PLACE", str(place))
    suite = {"data": ["mine=${oc.env:PLACE}/images?test=0.3"], "tasks": {"knn": {}}, "seeds": [0], "size": 32}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    data = recipe["data"] | {"train": "${oc.env:PLACE}/images", "max_damaged": 0.5}
    tree = recipe | {"data": data, "eval": {"suite": str(tmp_path / "suite.yaml")}, "trackers": {}}
    tree["train"] = tree["train"] | {"steps": 6}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tree))
    run = api.distill(tmp_path / "recipe.yaml", out=tmp_path / "run")
    for name in ("recipe.yaml", "results.json", "report.html", "export/config.json", "export/README.md"):
        text = (run / name).read_text()
        assert "place-of-alice" not in text, name
        assert "${oc.env:PLACE}" in text, name
    page = (run / "report.html").read_text()
    assert "broken.jpg" in page
    assert "data:image/png" in page  # the images were found again
    monkeypatch.setenv("PLACE", str(tmp_path / "elsewhere"))  # of another job
    api.export(run, tmp_path / "again")
    assert "alice" not in (tmp_path / "again/config.json").read_text() + (tmp_path / "again/README.md").read_text()


def test_a_run_whose_recipe_is_of_another_model(
    tmp_path: Path, recipe: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The error named every tensor, 15,000 characters."""
    recipe["train"] = recipe["train"] | {"steps": 1}
    run = api.distill(recipe | {"trackers": {}}, out=tmp_path / "run")
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("model: timm:test_vit", "model: timm:test_vit2"))
    with pytest.raises(InputError) as error:
        api.export(run, tmp_path / "export")
    assert re.match(f"run {run}: .*checkpoint.*fit.*recipe", str(error.value))
    assert len(str(error.value)) < 600
    assert not (tmp_path / "export").exists()


def test_variables_in_overrides_are_named_too(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/secret/place")
    found = load_recipe(recipe, ["data.train=${oc.env:PLACE}/images", "data.size=${train.batch_size}"])
    assert (found.data.train[0].path, found.data.size) == ("/secret/place/images", recipe["train"]["batch_size"])
    assert "secret" not in found.to_yaml()


@pytest.mark.parametrize("name", ["'PLACE'", '"PLACE"', "${oc.env:PLACE}"])
def test_a_variable_has_a_plain_name(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PLACE", "/secret/place")
    recipe["data"]["train"] = f"${{oc.env:{name}}}/images"
    with pytest.raises(InputError, match=r"a reference \$\{key\} or \$\{oc.env:NAME\}") as error:
        load_recipe(recipe)
    assert "secret" not in str(error.value)


def test_a_variable_of_a_stage_may_be_missing_where_a_run_is_looked_at(recipe: dict[str, Any]) -> None:
    recipe["stages"] = [{"data.train": "${oc.env:NOWHERE}/b"}, {}]
    plans = load_recipe(recipe, may_miss=True).plans()
    assert plans[0].data.train[0].path == "${oc.env:NOWHERE}/b"


def test_a_word_that_a_variable_happens_to_hold_stays_a_word(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUP", "unic")
    recipe["data"]["train"] = "/data/${oc.env:GROUP}/images"
    written = yaml.safe_load(load_recipe(recipe).to_yaml())["data"]
    assert (written["train"][0]["path"], written["augment"]) == ("/data/${oc.env:GROUP}/images", "unic")


def test_what_a_stranger_says_was_written_does_not_grow(recipe: dict[str, Any]) -> None:
    names = [chr(97 + number) * 12 for number in range(8)]
    bomb = {name: f"${{oc.env:X}}{after * 50}" for name, after in itertools.pairwise(names)}
    found = load_recipe(recipe).written_as(bomb, {"text": 3, 4: "${oc.env:X}", "plain": "no reference"})  # type: ignore[dict-item]
    assert len(found.shared({"a": names[0]})["a"]) < 1000
    assert len(found.written) == 7
