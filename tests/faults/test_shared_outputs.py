"""What a recipe has from environment variables only is in nothing that a person may share."""

from __future__ import annotations

import html
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import yaml
from rich.console import Console

import unic
from unic import api
from unic.preflight.screen import render as screen
from unic.recipe.references import WithReferences
from unic.recipe.schema import load_recipe
from unic.reporting.draw.svg import tag
from unic.reporting.render import _printed
from unic.training import train
from unic.training.places import found_from

OF_RECIPE = ["teacher", "student", "train", "cache", "tracker", "suite"]
PLACES = [*OF_RECIPE, "set"]  # `set` is a path in the file of the suite
NAMED = {
    "run/report.html": OF_RECIPE,
    "comparison.html": OF_RECIPE,
    "run/recipe.yaml": OF_RECIPE,
    "run/results.json": ["teacher", "student", "set"],
    "run/metrics.jsonl": [],
    "run/environment.json": [],
    "run/export/config.json": OF_RECIPE,
    "run/export/README.md": OF_RECIPE,
    "tracker.json": OF_RECIPE,
    "sweep/base.yaml": OF_RECIPE,
    "sweep/sweep.yaml": ["teacher"],  # of the variants that drop the other one
    "sweep/table.md": [],
    "sweep/report.html": [],
    "sweep/results/base-0.json": [],
    "sweep/base/results.json": ["teacher", "student", "set"],
    "sweep/base/report.html": ["teacher", "student"],
    "table.csv": [],
    "table.md": [],
    "table.tex": [],
    "check.json": ["teacher", "student", "train"],
    "check.txt": ["teacher", "student", "train"],
    "dry_run.txt": ["teacher", "student"],
    "terminal.txt": ["teacher", "student", "cache"],
}


def secret(place: str) -> str:
    """The name of a folder, which pages escape."""
    return f"alice's-{place}"


def variable(place: str) -> str:
    return f"FOLDER_OF_{place.upper()}"


@pytest.fixture(scope="module")
def outputs(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with everything that one training gives, as a run and as a sweep."""
    root = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        patched.setenv("UNIC_CACHE", str(root / "features"))
        for place in PLACES:
            folder = root / "places" / secret(place)
            folder.mkdir(parents=True)
            patched.setenv(variable(place), str(folder))
            if place in ("train", "set"):
                shutil.copytree(image_folder, folder / "images")
            if place in ("teacher", "student"):
                weights = timm.create_model("test_vit", img_size=32).state_dict()
                safetensors.torch.save_file(weights, folder / "w.safetensors")
        _write_all(patched)
        yield root


def _write_all(patched: pytest.MonkeyPatch) -> None:
    written = {place: f"${{oc.env:{variable(place)}}}" for place in PLACES}
    model = "timm:test_vit?img_size=32&mean=imagenet&std=imagenet&checkpoint={}/w.safetensors"
    suite = {"data": [f"mine={written['set']}/images?test=0.3"], "tasks": {"knn": {"k": 3}}, "seeds": [0], "size": 32}
    Path("places", secret("suite"), "suite.yaml").write_text(yaml.safe_dump(suite))
    recipe = {
        "teachers": {
            "models": {
                "vit": model.format(written["teacher"]),
                "cnn": "timm:test_efficientnet?pretrained=false&img_size=64",
            },
            "cache": {"dir": f"{written['cache']}/cache", "views": 1},
        },
        "student": {"model": model.format(written["student"])},
        "projector": {"type": "ladder", "hidden_dim": 8, "last_hidden_dim": 16},
        "data": {"train": f"{written['train']}/images", "size": 32, "augment": "none", "workers": 0},
        "train": {"steps": 2, "batch_size": 8, "precision": "fp32", "log_every": 1, "warmup_epochs": 0},
        "eval": {"suite": f"{written['suite']}/suite.yaml"},
        "trackers": {"tensorboard": {"comment": written["tracker"]}},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    Path("dry_run.txt").write_text("\n".join(api.dry_run("recipe.yaml")))
    checked = api.check("recipe.yaml")
    Path("check.json").write_text(json.dumps(checked.to_json()))
    Path("check.txt").write_text(_shown(lambda console: console.print(screen(checked))))
    opened: list[Any] = []
    patched.setattr(train, "open_trackers", lambda names, run, recipe, after: opened.append(recipe) or [])
    Path("terminal.txt").write_text(
        _shown(
            lambda console: unic.sweep(
                "recipe.yaml", out="sweep", drop_teachers="each", only_variants=["base"], console=console
            )
        )
    )
    Path("tracker.json").write_text(json.dumps(opened))
    shutil.copytree("sweep/base/seed-0", "run")
    api.report("run")
    shutil.copytree("run", "other")
    text = Path("run/recipe.yaml").read_text()
    Path("other/recipe.yaml").write_text(text.replace("${oc.env:", "/elsewhere/${oc.env:"))
    api.compare(["run", "other"], "comparison.html")
    api.evaluate("run", out=["table.csv", "table.md", "table.tex"], console=Console(quiet=True))
    api.evaluate("sweep/base", out="sweep/base/results.json", console=Console(quiet=True))
    api.report("sweep/base")


def _shown(work: Callable[[Console], object]) -> str:
    console = Console(file=io.StringIO(), width=999)
    work(console)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("output", NAMED)
def test_an_output_names_the_variable_and_not_its_value(outputs: Path, output: str, place: str) -> None:
    text = html.unescape((outputs / output).read_text())
    assert "alice" not in text  # its apostrophe is written in several ways
    assert (f"${{oc.env:{variable(place)}}}" in text) == (place in NAMED[output])


def test_only_the_texts_of_a_drawing_are_changed() -> None:
    hidden = WithReferences().written_as({f"\0{value}": "${oc.env:X}" for value in ("a<b & 'c'", "title", "data")})
    drawn = tag("svg", tag("title", "of a<b & 'c'"), aria_label="title: \"a<b & 'c'\"", class_="title")
    assert _printed(hidden, drawn) == (
        '<svg aria-label="${oc.env:X}: &#34;${oc.env:X}&#34;" class="title"><title>of ${oc.env:X}</title></svg>'
    )
    assert _printed(hidden, {"in a list": ["the data"]}) == "{'in a list': ['the ${oc.env:X}']}"
    assert _printed(hidden, 3) == 3


def test_a_file_that_is_found_beside_the_recipe_keeps_the_variable(
    tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of-alice/images").mkdir(parents=True)
    monkeypatch.setenv("FOLDER", "of-alice")
    recipe["data"]["train"] = "${oc.env:FOLDER}/images"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    found = found_from(load_recipe(tmp_path / "recipe.yaml"))
    assert found.data.train[0].path == f"{tmp_path}/of-alice/images"
    assert f"path: {tmp_path}/${{oc.env:FOLDER}}/images\n" in found.to_yaml()
    assert load_recipe(yaml.safe_load(found.to_yaml())).data == found.data
