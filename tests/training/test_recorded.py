"""A run goes on, and is opened, by the mean and std that it began with."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from rich.console import Console

from unic import api
from unic.api.evaluating import stages_of
from unic.encoders import build_encoder, load_encoder
from unic.encoders._old_rules import as_before
from unic.encoders.base import Encoder
from unic.eval.columns import columns_of
from unic.recipe.schema import load_recipe
from unic.training.recorded import Models
from unic.training.train import fit
from unic.training.trained import load_trained

IMAGENET, HALF = [0.485, 0.456, 0.406], [0.5, 0.5, 0.5]  # published weights of test_vit take 0.5
VIT = "timm:test_vit?pretrained=false&img_size=32"


def mean(encoder: Encoder) -> list[float]:
    return [round(float(value), 6) for value in encoder.mean.flatten()]


def rewrite(run: Path, change: Any) -> None:
    """Changes the plain values of the newest checkpoint, and its checksum."""
    folder = run / "checkpoints" / (run / "checkpoints/last").read_text()
    document = json.loads((folder / "state.json").read_text())
    change(document["state"])
    (folder / "state.json").write_text(json.dumps(document))
    sums = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("state.json", "tensors.safetensors")
    ]
    (folder / "SHA256SUMS").write_text("".join(sums))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    state = build_encoder(VIT).state_dict()
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({name.removeprefix("model."): tensor for name, tensor in state.items()}, path)
    return path


@pytest.fixture
def old_run(recipe: dict[str, Any], tmp_path: Path, weights: Path) -> tuple[dict[str, Any], Path]:
    """Three steps of a run of a version that recorded nothing and that took the architecture's 0.5 wherever it guessed.

    Its recipe has URIs that leave mean and std open; it was trained with these written out.
    """
    recipe["teachers"]["models"] = {
        "random": VIT,
        "file": f"timm:test_vit?checkpoint={weights}&img_size=32",
        "named": f"safetensors:{weights}?arch=test_vit&img_size=32&mean=0.3",
    }
    told = json.loads(json.dumps(recipe))
    told["student"]["model"] += "&mean=0.5&std=0.5"
    told["teachers"]["models"] = {
        "random": f"{VIT}&mean=0.5,0.5,0.5&std=0.5,0.5,0.5",
        "file": recipe["teachers"]["models"]["file"] + "&mean=0.5&std=0.5",
        "named": recipe["teachers"]["models"]["named"] + "&std=0.5",
    }
    run = tmp_path / "run"
    fit(load_recipe(told, ["train.steps=3"]), run, console=Console(quiet=True))
    plain = load_recipe(recipe, ["train.steps=3"])

    def forget(state: dict[str, Any]) -> None:
        del state["models"]
        state["identity"]["recipe"] = plain.model_dump(mode="json")

    rewrite(run, forget)
    (run / "recipe.yaml").write_text(plain.to_yaml())
    return recipe, run


def test_an_old_run_goes_on_by_its_old_numbers(old_run: tuple[dict[str, Any], Path]) -> None:
    recipe, run = old_run
    assert mean(load_trained(run).student()) == HALF
    told = io.StringIO()
    # The same steps again: what differs is that the checkpoint now has a record.
    again = fit(load_recipe(recipe, ["train.steps=3"]), run, resume=True, console=Console(file=told, width=999))
    assert mean(again) == HALF
    lines = [line for line in told.getvalue().splitlines() if "earlier version" in line]
    assert len(lines) == 1
    assert "student with mean=0.5,0.5,0.5&std=0.5,0.5,0.5; teacher random with mean=0.5" in lines[0]
    assert "teacher named with std=0.5,0.5,0.5" in lines[0]


def test_an_old_run_is_exported_and_evaluated_by_its_old_numbers(old_run: tuple[dict[str, Any], Path]) -> None:
    _, run = old_run
    folder = api.export(run)
    assert mean(load_encoder(f"run:{folder}")) == HALF
    models = columns_of({"run": str(run)}, stages_of=stages_of).models
    assert mean(load_encoder(models["file"])) == HALF
    assert mean(load_encoder(models["named"])) == [0.3] * 3
    extra = json.loads((folder / "config.json").read_text())["unic"]
    assert {name: facts["licence"] for name, facts in extra["teachers"].items()} == {
        "random": "", "file": None, "named": None,
    }  # fmt: skip
    assert extra["start"] is None


def test_a_new_run_takes_imagenets_numbers_and_is_opened_by_them(
    recipe: dict[str, Any], tmp_path: Path, weights: Path
) -> None:
    config = {"architecture": "test_vit", "pretrained_cfg": {"mean": [0.1] * 3, "std": [0.2] * 3, "license": "mit"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    recipe["teachers"]["models"]["file"] = f"timm:test_vit?checkpoint={weights}&img_size=32"
    settings = load_recipe(recipe, ["train.steps=2"])
    assert mean(fit(settings, tmp_path / "run", console=Console(quiet=True))) == IMAGENET
    (tmp_path / "config.json").unlink()  # the run knows what it said
    told = io.StringIO()
    fit(settings, tmp_path / "run", resume=True, console=Console(file=told, width=999))
    assert "earlier version" not in told.getvalue()
    assert mean(load_trained(tmp_path / "run").student()) == IMAGENET
    models = columns_of({"run": str(tmp_path / "run")}, stages_of=stages_of).models
    assert mean(load_encoder(models["file"])) == [0.1] * 3
    folder = api.export(tmp_path / "run")
    assert json.loads((folder / "config.json").read_text())["pretrained_cfg"]["license"] == "mit"


@pytest.mark.parametrize("kind", ["timm", "run"])
def test_the_starts_licence_and_numbers_are_the_students(
    recipe: dict[str, Any], tmp_path: Path, weights: Path, kind: str
) -> None:
    from unic.exporting.timm import export_timm

    encoder = build_encoder(f"{VIT}&mean=0.4&std=0.3").eval()
    folder = export_timm(encoder, tmp_path / "start", licence="cc-by-nc-4.0")  # type: ignore[arg-type]
    uri = f"run:{folder}" if kind == "run" else f"timm:test_vit?img_size=32&checkpoint={folder}/model.safetensors"
    recipe["student"]["model"] = uri
    fit(load_recipe(recipe, ["train.steps=1"]), tmp_path / "run", console=Console(quiet=True))
    out = api.export(tmp_path / "run")
    exported = load_encoder(f"run:{out}")
    assert (mean(exported), exported.licence) == ([0.4] * 3, "cc-by-nc-4.0")
    card = (out / "README.md").read_text()
    assert "license: cc-by-nc-4.0" in card
    assert f"| the start | `{uri}` | – | cc-by-nc-4.0 |" in card


@pytest.mark.parametrize(
    ("uri", "added"),
    [
        ("timm:test_vit?pretrained=false", "&mean=0.5,0.5,0.5&std=0.5,0.5,0.5"),
        ("timm:test_vit?checkpoint=a.pth&std=0.2", "&mean=0.5,0.5,0.5"),
        ("timm:vit_base_patch16_224.dino?checkpoint=a.pth", "&mean=0.485,0.456,0.406&std=0.229,0.224,0.225"),
        ("timm:resnet18?pretrained=false", ""),  # ImageNet's then and now
        ("timm:test_vit", ""),
        ("timm:no_such_model?pretrained=false", ""),
        ("safetensors:a.safetensors?arch=test_vit", "&mean=0.5,0.5,0.5&std=0.5,0.5,0.5"),
        ("onnx:nothing.onnx", ""),
        ("pixels:8", ""),
    ],
)
def test_what_a_uri_meant_before(uri: str, added: str) -> None:
    assert as_before(uri) == uri + added


def test_what_a_graph_meant_before(tmp_path: Path) -> None:
    """Bytes got images in [0, 1]; a grid was any square."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0)).numpy()
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["float", "weight"], ["map"], strides=[4, 4]),
        helper.make_node("Reshape", ["map", "flat"], ["flattened"]),
        helper.make_node("Transpose", ["flattened"], ["tokens"], perm=[0, 2, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "bytes",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["b", 3, 8, 32])],
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(torch.tensor([0, 5, -1]).numpy(), "flat")],
    )
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8), path)
    before = as_before(f"onnx:{path}")
    assert before == f"onnx:{path}?scale=1&num_prefix_tokens=0&grid=4x4"
    images = torch.rand(1, 3, 8, 32, generator=torch.Generator().manual_seed(1))
    expected = torch.nn.functional.conv2d(images.round(), torch.from_numpy(weight), stride=4).flatten(2).mT
    tokens = load_encoder(before)(images)
    torch.testing.assert_close(tokens.patches, expected, rtol=1e-4, atol=1e-4)
    assert tokens.grid == (4, 4)
    assert load_encoder(f"onnx:{path}")(images).grid == (2, 8)


def test_facts_that_a_later_version_adds_do_not_matter() -> None:
    facts = {"uri": "timm:x", "mean": HALF, "std": HALF, "licence": "mit", "revision": None}
    record = {"before": False, "student": {**facts, "from_scratch": True}, "teachers": {"a": facts}}
    longer = {**record, "student": {**record["student"], "more": 1}, "teachers": {"a": {**facts, "more": 1}}, "more": 1}
    assert Models.from_state(longer).to_state() == record == Models.from_state(record).to_state()
