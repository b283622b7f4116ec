"""Shipped recipes: their names are known to the libraries, and what a user has to give is told in a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import unic
from unic.data.sources._hub_names import is_hub_name
from unic.encoders import build_encoder, input_size, parse_uri, without_weights
from unic.recipe.reading import recipe_folder
from unic.recipe.schema import load_recipe

RECIPES = sorted(path.stem for path in recipe_folder().glob("*.yaml"))
TINY = {
    "student.model": "timm:test_vit?pretrained=false&img_size=32", "student.drop_path": 0.0, "data.size": 32,
    "data.workers": 0, "train.engine": "ddp", "train.checkpoint_activations": False, "train.precision": "fp32",
    "train.steps": 2, "train.batch_size": 8, "stages": [], "teachers.shard": False, "projector.hidden_dim": 8,
}  # fmt: skip


def teachers(recipe: str) -> Iterator[str]:
    for plan in load_recipe(recipe).plans():
        yield from plan.teachers.uris.values()


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_stage_is_a_recipe_whose_teachers_are_published(recipe: str) -> None:
    for uri in teachers(recipe):
        spec = parse_uri(uri)
        if spec.scheme == "timm":
            assert min(input_size(uri.partition("?")[0])) > 0  # timm has this architecture with these weights
            assert "pretrained=false" in without_weights(uri)  # mean and std are known
        elif spec.scheme == "open_clip":
            open_clip = pytest.importorskip("open_clip")
            assert open_clip.get_pretrained_cfg(*spec.name.split("/"))
        else:
            assert spec.scheme in ("packaged", "py", "run")


@pytest.mark.parametrize("recipe", ["unic-vitb16", "unic-vitl14", "dune-vitb14", "proxy", "proxy-student"])
def test_images_of_the_user_are_not_looked_for_on_the_hub(recipe: str) -> None:
    """It would ask for minutes where there is no network, before it says that they are missing."""
    assert not [entry.path for entry in load_recipe(recipe).data.train if is_hub_name(entry.path)]


def test_dune_says_what_becomes_of_the_last_norm() -> None:
    with torch.device("meta"):
        student = build_encoder(load_recipe("dune-vitb14").student.model)
    assert not any(parameter.requires_grad for parameter in student.model.norm.parameters())
    assert not student.norm_last
    head = (recipe_folder() / "dune-vitb14.yaml").read_text().partition("\nbase:")[0]
    assert "keeps this norm, frozen" in head


def test_check_names_what_the_user_has_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here: dict[str, Any] = {"student.model": TINY["student.model"], "stages": []}
    errors = {
        "proxy-student": ["runs/proxy", "data/imagenet/train"],
        "dune-vitb14": ["so it is not run", "weights/multiHMR_672_L.pt", "data/dune/general"],
    }
    for recipe, wanted in errors.items():
        own = {"teachers.models.dinov2": "timm:test_vit?pretrained=false"} if recipe == "dune-vitb14" else {}
        found = unic.check(recipe, overrides={**here, **own})
        assert not found.is_ready
        lines = [finding.text for finding in found.findings]
        for part in wanted:
            assert any(part in line for line in lines), (part, lines)
        assert not any("\n" in line for line in lines)


def test_a_student_of_the_proxy_learns_from_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    images = {"data.train": str(image_folder)}
    models = {"a": "timm:test_vit?pretrained=false&img_size=32", "b": "timm:test_efficientnet?pretrained=false"}
    unic.distill("proxy", out="runs/proxy", overrides={**TINY, **images, "teachers.models": models})
    run = unic.distill("proxy-student", out="runs/student", overrides={**TINY, **images})
    assert load_recipe(run / "recipe.yaml").teachers.uris == {"proxy": "run:runs/proxy"}
    assert unic.load_encoder(run).embed_dim == 64
