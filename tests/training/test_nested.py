"""Nested widths of a run: what is refused, what leaves the run, and how it is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import unic
from unic.encoders import build_encoder, load_encoder
from unic.errors import InputError
from unic.eval.results.schema import Results
from unic.exporting.timm import export_timm
from unic.recipe.schema import load_recipe
from unic.training.build import build
from unic.training.train import fit

CPU = torch.device("cpu")


@pytest.mark.parametrize("widths", ["[16,8]", "[8,8]"])
def test_widths_ascend(recipe: dict[str, Any], widths: str) -> None:
    with pytest.raises(InputError, match=r"'student.widths': expected different numbers, from the smallest"):
        load_recipe(recipe, [f"student.widths={widths}"])


@pytest.mark.parametrize("width", [64, 65])
def test_a_width_that_cuts_nothing_off(recipe: dict[str, Any], width: int) -> None:
    with pytest.raises(InputError, match=rf"^recipe: 'student.widths': {width} is not below the student's width, 64$"):
        build(load_recipe(recipe, [f"student.widths=[8,{width}]"]), CPU)


def test_frozen_student_behind_projectors_without_parameters(recipe: dict[str, Any]) -> None:
    changes = ["projector={type: identity}", "teachers.models={vit: 'timm:test_vit?pretrained=false&img_size=32'}"]
    with pytest.raises(InputError, match=r"'student.frozen' leaves nothing to train; projector 'identity'"):
        build(load_recipe(recipe, [*changes, "student.frozen=true"]), CPU)
    build(load_recipe(recipe, changes), CPU)


@pytest.mark.parametrize("projector", ["{type: transformer}", "{type: mlp, hidden_dim: 8}"])
def test_a_cut_student_is_evaluated_and_exported(
    recipe: dict[str, Any], image_folder: Path, tmp_path: Path, projector: str
) -> None:
    changes = ["student.widths=[8,16]", "train.steps=2", f"projector={projector}"]
    run = tmp_path / "run"
    fit(load_recipe(recipe, changes), run, console=Console(quiet=True))
    unic.export(run)
    assert json.loads((run / "export/config.json").read_text())["unic"]["widths"] == [8, 16, 64]
    assert "Nested widths: 8, 16." in (run / "export/README.md").read_text()
    whole, cut = (load_encoder(f"run:{run}{ending}") for ending in ("", "?width=8"))
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(cut(images).cls, whole(images).cls[:, :8])
    assert torch.equal(cut(images).patches, whole(images).patches[..., :8])
    assert (cut.embed_dim, cut.patch_dim, cut.grid_at((64, 64))) == (8, 8, whole.grid_at((64, 64)))
    assert len({whole.fingerprint(), cut.fingerprint(), load_encoder(f"run:{run}?width=9").fingerprint()}) == 3
    models = {"whole": f"run:{run}", "narrow": f"run:{run}?width=8"}
    results = Results.load(
        unic.evaluate(models, tasks="knn(k=3)", data={"blobs": f"{image_folder}?test=0.4&seed=0"}, seeds=[0])
    )
    assert {"whole", "narrow", "vit", "cnn"} <= results.models.keys()
    assert "student-8" not in results.models  # it is `narrow`
    assert not results.failed()
    alone = unic.evaluate(str(run), tasks="knn(k=3)", data={"blobs": f"{image_folder}?test=0.4&seed=0"}, seeds=[0])
    assert list(alone["models"])[:3] == ["student", "student-8", "student-16"]
    assert alone["tasks"]["blobs/knn(k=3)"]["student-8"] == results.as_dict()["tasks"]["blobs/knn(k=3)"]["narrow"]
    assert "student-8" not in unic.evaluate(
        str(run), teachers=False, tasks="knn(k=3)", data={"blobs": f"{image_folder}?test=0.4&seed=0"}, seeds=[0]
    )["models"]  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "line"),
    [("?width=65", "option 'width' must be from 1 to 64, not 65"), ("?width=a", "'width' must be a whole number")],
)
def test_wrong_cuts(recipe: dict[str, Any], tmp_path: Path, ending: str, line: str) -> None:
    export_timm(build_encoder(recipe["student"]["model"]), tmp_path)
    with pytest.raises(InputError, match=line):
        load_encoder(f"run:{tmp_path}{ending}")
    with pytest.raises(InputError, match="timm model"):
        build(load_recipe(recipe, [f"student.model=run:{tmp_path}?width=8"]), CPU)
