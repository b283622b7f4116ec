"""The arguments of the API, and the end of a run with stages, which evaluates the last one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from rich.console import Console

import unic
from unic import api
from unic.api import distilling
from unic.api.recipes import override_lines
from unic.data.sources.folder import Folder
from unic.errors import InputError, UnfinishedError
from unic.eval.results.schema import Results
from unic.recipe.schema import load_recipe
from unic.runs.metrics import read_metrics


def test_the_last_stage_is_evaluated(recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has the last stage's teachers, and the evaluation reads its teacher cache."""
    larger = {"vit": "timm:test_vit?pretrained=false&img_size=64", "cnn": recipe["teachers"]["models"]["cnn"]}
    cache = {"dir": str(tmp_path / "cache"), "views": 1}
    later = {"teachers": {"models": larger, "cache": cache}, "data.size": 64}
    recipe |= {"stages": [{"train.steps": 1}, later], "eval": {"suite": "quick"}, "trackers": {}}
    recipe["train"]["steps"] = 2
    asked: dict[str, Any] = {}

    def evaluated(named: dict[str, str], roles: dict[str, str], **options: Any) -> Results:
        asked.update(options, named=named, roles=roles)
        return Results(models={}, tasks={})

    monkeypatch.setattr("unic.api.evaluating.evaluate_models", evaluated)
    api.distill(recipe, out=tmp_path / "run", console=Console(quiet=True))
    assert {name: asked["named"][name] for name, role in asked["roles"].items() if role == "teacher"} == larger
    assert asked["cache"] == Path(cache["dir"])
    exported = json.loads((tmp_path / "run/export/config.json").read_text())["unic"]
    steps = [stage["train"]["steps"] for stage in (*exported["earlier_stages"], exported["recipe"])]
    assert steps == [1, 2]


def test_no_test_image_is_opened_before_the_final_table(
    recipe: dict[str, Any], image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test part is listed at the start, and removed while the run trains."""
    test, fit, encoded = tmp_path / "set/test", distilling.fit, Folder.encoded
    opened: list[Path] = []

    def noted(self: Folder, index: int) -> Path:
        opened.append(encoded(self, index))
        return opened[-1]

    def trained(*args: Any, **options: Any) -> Any:
        test.unlink()
        found = fit(*args, **options)
        assert opened
        assert not [path for path in opened if path.is_relative_to(test)]
        test.symlink_to(image_folder)
        return found

    monkeypatch.setattr(Folder, "encoded", noted)
    monkeypatch.setattr("unic.api.distilling.fit", trained)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train").symlink_to(image_folder)
    test.symlink_to(image_folder)
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"data: ['blobs={tmp_path}/set']\ntasks: {{knn: {{k: 3}}}}\nsize: 32\n")
    recipe |= {"eval": {"suite": str(suite), "every": 4, "patience": 5}, "trackers": {}}
    recipe["checkpoint"] |= {"best": "knn/mean"}
    with pytest.raises(UnfinishedError, match="test images"):  # as all of them are one folder
        api.distill(recipe, out=tmp_path / "run", console=Console(quiet=True))
    assert [set(row) for row in read_metrics(tmp_path / "run") if "knn/blobs" in row] == [
        {"step", "knn/blobs", "knn/mean"}
    ] * 2
    assert [path for path in opened if path.is_relative_to(test)]
    suite.write_text(suite.read_text().replace("/set'", "/set?overlap=allow'"))
    results = api.evaluate([tmp_path / "run"], suite=suite, teachers=False, console=Console(quiet=True))
    assert "blobs/knn" in results["tasks"]


def test_models_are_taken_in_every_form(recipe: dict[str, Any], image_folder: Path, tmp_path: Path) -> None:
    """A text, a path, the export in it and the encoder itself are one model, so they get one score."""
    recipe["train"]["steps"] = 2
    run = unic.distill(recipe, out=tmp_path / "12:30", console=Console(quiet=True))
    encoder = unic.load_encoder(run, precision="fp32")
    images = torch.rand(2, 3, 32, 32)
    for same in (f"run:{run}", str(run), run / "export", str(run / "export"), encoder):
        assert torch.equal(unic.load_encoder(same, precision="fp32")(images).cls, encoder(images).cls)
    assert unic.load_encoder(encoder) is encoder
    assert unic.load_encoder(encoder).precision == "fp32"

    options: dict[str, Any] = {"data": {"x": f"{image_folder}?test=0.5"}, "tasks": ["knn"], "teachers": False}
    scores = {}
    for given in (str(run), run, [run / "export"], encoder, [f"named={run}"], {"named": encoder}):
        found = unic.evaluate(given, **options)  # type: ignore[arg-type]
        (name,) = found["models"]
        scores[name] = found["tasks"]["x/knn"][name]["score"]
    assert list(scores) == ["student", "export", "12:30", "named"]
    assert len(set(scores.values())) == 1
    both = unic.evaluate([run, "pixels:4", unic.load_encoder("pixels:2")], **options)
    assert list(both["models"]) == ["12:30", "4", "2"]
    files = [unic.encode(same, image_folder, tmp_path / f"{name}.safetensors", precision="fp32")
             for name, same in (("uri", f"run:{run}"), ("folder", run), ("encoder", encoder))]  # fmt: skip
    opened = [safetensors.safe_open(file, "np") for file in files]
    assert all(one.metadata() == opened[0].metadata() for one in opened)
    assert all((one.get_tensor("cls") == opened[0].get_tensor("cls")).all() for one in opened)


def test_recipes_are_taken_in_every_form(recipe: dict[str, Any], tmp_path: Path) -> None:
    whole = load_recipe(recipe)
    (tmp_path / "recipe.yaml").write_text(whole.to_yaml())
    for given in (recipe, whole, tmp_path / "recipe.yaml", str(tmp_path / "recipe.yaml")):
        assert unic.check(given, out=str(tmp_path / "run"), train__steps=5).facts["time"]["steps"] == 5
        assert any("; 5 steps of 8" in line for line in api.dry_run(given, **{"train.steps": 5}))


def test_code_is_trusted_where_an_override_names_it(recipe: dict[str, Any]) -> None:
    """`check` and `dry_run` trust it as `distill` does; that the module is missing is another finding."""
    for asks in (unic.check, api.dry_run):
        try:
            said = [finding.text for finding in asks(recipe, teachers__models={"a": "py:no_such:x"}).findings]
        except unic.InputError as error:
            said = [str(error)]
        assert any("no_such" in line for line in said)
        assert not any("trust" in line for line in said)


def test_overrides_are_a_mapping_or_keywords() -> None:
    lines = override_lines({"train.lr": 1e-4, "loss": {"mse": 1.0}}, {"data__size": 96, "train.steps": None})
    assert lines == ["train.lr=0.0001", 'loss={"mse": 1.0}', "data.size=96", "train.steps=null"]
    with pytest.raises(InputError, match="'train.lr' is given twice"):
        override_lines({"train.lr": 1e-4}, {"train__lr": 1e-3})
    with pytest.raises(InputError, match="'data.train'.*Path"):
        override_lines({"data.train": Path("images")}, {})
