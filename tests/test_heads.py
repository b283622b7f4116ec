"""Kept heads: the outputs of the projectors in training, in the teacher's space."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic import api
from unic.api import evaluating
from unic.encoders import load_encoder
from unic.errors import InputError, NotApplicableError
from unic.eval.columns import ModelColumns
from unic.eval.datasets import open_pair
from unic.eval.subject import Subject
from unic.eval.tasks import influence, zero_shot
from unic.heads import exported_heads, heads_of, kept_head
from unic.recipe.schema import load_recipe
from unic.runs import checkpoint
from unic.tokens import Tokens
from unic.training.build import build
from unic.training.job import Job
from unic.training.train import fit

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def train(recipe: dict[str, Any], out: Path, *overrides: str) -> Job:
    """Runs a short training, and returns its job as the training left it."""
    settings = load_recipe(recipe, ["train.steps=3", *overrides])
    fit(settings, out, console=Console(quiet=True))
    job = build(settings, torch.device("cpu"))
    found = checkpoint.load_newest(out)
    assert found
    job.distiller.load_state_dict(checkpoint.without_prefix("distiller.", found.checkpoint.tensors))
    job.standardizer.load_state_dict(checkpoint.without_prefix("standardizer.", found.checkpoint.tensors))
    job.distiller.eval()
    job.standardizer.eval()
    return job


@torch.no_grad()
def predictions(job: Job, teacher: str) -> Tokens:
    distiller = job.distiller
    return distiller.projectors[teacher](distiller.student.intermediates(IMAGES, distiller.blocks))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights for the student whose final norm is not the identity, as after pretraining."""
    encoder = load_encoder("timm:test_vit?pretrained=false&img_size=32")
    state = {name.removeprefix("model."): tensor for name, tensor in encoder.state_dict().items()}
    state["norm.weight"], state["norm.bias"] = state["norm.weight"] * 3, state["norm.bias"] + 1
    path = tmp_path_factory.mktemp("weights") / "vit.pth"
    torch.save(state, path)
    return path


@pytest.mark.parametrize(
    "override",
    [
        "projector.blocks=[0,-1]",
        "projector={type: linear}",
        "projector={type: mlp, hidden_dim: 8}",
        "projector={type: transformer}",
        "projector={type: ladder, norm: pre, hidden_dim: 8}",
        "standardize={type: phi_s, steps: 1}",
        "student={model: 'timm:test_efficientnet?pretrained=false&img_size=32'}",
        "student={model: 'timm:test_vit?img_size=32&mean=0.4&std=0.3&checkpoint=WEIGHTS'}",
    ],
)
def test_standardised_head_is_the_projectors_output(
    recipe: dict[str, Any], tmp_path: Path, weights: Path, override: str
) -> None:
    job = train(recipe, tmp_path / "run", override.replace("WEIGHTS", str(weights)))
    for teacher, load in heads_of(tmp_path / "run").items():
        head = load()
        head.precision = "fp32"  # as in the run
        expected = predictions(job, teacher)
        tokens = head(IMAGES)
        assert (tokens.cls.shape[1], tokens.patches.shape[2]) == (head.embed_dim, head.patch_dim)
        assert head.embed_dim == job.encoders[teacher].embed_dim
        standardised = job.standardizer({teacher: tokens})[teacher]
        torch.testing.assert_close(standardised.cls, expected.cls, atol=2e-4, rtol=1e-3)
        torch.testing.assert_close(standardised.patches, expected.patches, atol=2e-4, rtol=1e-3)
        assert not head.training
        assert not any(parameter.requires_grad for parameter in head.parameters())


def test_without_standardisation_it_is_the_projectors_output_itself(recipe: dict[str, Any], tmp_path: Path) -> None:
    job = train(recipe, tmp_path / "run", "standardize.type=none")
    head = kept_head(tmp_path / "run", "cnn")
    head.precision = "fp32"
    torch.testing.assert_close(head(IMAGES).cls, predictions(job, "cnn").cls, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("projector", ["{type: linear}", "{type: identity}"])
def test_heads_of_teachers_that_are_matched_by_either_alone(
    recipe: dict[str, Any], tmp_path: Path, projector: str
) -> None:
    """The one has no patches; the other has their mean as its CLS, which is no CLS in its teacher's space."""
    uri = recipe["teachers"]["models"]["vit"]
    options = {"caption": {"uri": uri, "tokens": "cls"}, "depth": {"uri": uri, "tokens": "patches"}}
    recipe["teachers"]["models"] = options
    job = train(recipe, tmp_path / "run", f"projector={projector}")
    heads = {name: load() for name, load in heads_of(tmp_path / "run").items()}
    found = {}
    for name, head in heads.items():
        head.precision = "fp32"
        found[name] = head(IMAGES)
        assert (found[name].cls.shape[1], found[name].patches.shape[2]) == (head.embed_dim, head.patch_dim)
    assert [(head.patch_dim, head.matched) for head in heads.values()] == [(0, "cls"), (64, "patches")]
    restored = job.standardizer({"caption": found["caption"]})["caption"].cls
    torch.testing.assert_close(restored, predictions(job, "caption").cls, atol=2e-4, rtol=1e-3)
    restored = job.standardizer({"depth": found["depth"]})["depth"].patches
    torch.testing.assert_close(restored, predictions(job, "depth").patches, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(found["depth"].cls, found["depth"].patches.mean(1))

    pair = open_pair("images", f"{recipe['data']['train']}?test=0.5&seed=0")
    teachers = {name: Subject(name, "teacher", pair, lambda n=name: job.encoders[n]) for name in heads}
    loads = {name: (lambda head=head: head) for name, head in heads.items()}
    student = Subject("student", "student", pair, lambda: job.student, teachers=teachers, heads=loads, size=32)
    compared = influence.run(student).details["teachers"]
    assert {name: [key for key, value in row.items() if value is None] for name, row in compared.items()} == {
        "caption": ["cosine_patch", "cosine_patch_raw"], "depth": ["cosine_cls", "cosine_cls_raw"],
    }  # fmt: skip
    with pytest.raises(NotApplicableError, match="'depth' is matched by patches alone, so model 'student' has no CLS"):
        zero_shot.run(student, teacher="depth", text="my.tower")


def test_a_head_has_the_tokens_that_its_losses_compare(recipe: dict[str, Any], tmp_path: Path) -> None:
    """As with `tokens: patches`, CLS is the mean of the patches, and with `tokens: cls` there are no patches."""
    recipe["teachers"]["models"] = {
        name: {"uri": uri, "loss": {loss: 1}}
        for (name, uri), loss in zip(
            recipe["teachers"]["models"].items(), ("shift_equivariant", "relational"), strict=True
        )
    }
    train(recipe, tmp_path / "run")
    heads = [kept_head(tmp_path / "run", name) for name in ("vit", "cnn")]
    assert [(head.matched, head.embed_dim, head.patch_dim) for head in heads] == [("patches", 64, 64), ("cls", 256, 0)]
    of_patches, of_cls = (head(IMAGES) for head in heads)
    torch.testing.assert_close(of_patches.cls, of_patches.patches.mean(1))
    assert of_cls.patches.shape[2] == 0
    assert [head.describe().rpartition(", ")[2] for head in heads] == [
        '"patches"]',
        '"cls"]',
    ]  # so their fingerprints tell
    with pytest.raises(InputError, match="'cnn' is matched by CLS alone"):
        api.export(tmp_path / "run", formats=["onnx"], heads=["cnn"], check=False)


def test_without_an_inverse_there_are_no_heads(recipe: dict[str, Any], tmp_path: Path) -> None:
    train(recipe, tmp_path / "run", "standardize.type=layer_norm")
    assert heads_of(tmp_path / "run") == {}
    with pytest.raises(InputError, match="standardizer 'layer_norm' has no inverse"):
        kept_head(tmp_path / "run", "cnn")


def test_fingerprint_covers_projector_and_statistics(recipe: dict[str, Any], tmp_path: Path) -> None:
    train(recipe, tmp_path / "run")
    heads = heads_of(tmp_path / "run")
    vit, again, cnn = heads["vit"](), pickle.loads(pickle.dumps(heads["vit"]))(), heads["cnn"]()
    assert vit.fingerprint() == again.fingerprint() != cnn.fingerprint()
    with pytest.raises(InputError, match="teacher.*'vti'.*'vit'"):
        kept_head(tmp_path / "run", "vti")
    prints = {vit.fingerprint()}
    for name in ("projector.cls.rungs.0.fc1.weight", "projector.patch.rungs.1.fc2.bias", "student.model.norm.bias"):
        vit.state_dict()[name].flatten()[0] += 1
        prints.add(vit.fingerprint())
    assert len(prints) == 4


def test_what_is_not_there_is_named(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        kept_head(tmp_path, "vit")
    (tmp_path / "recipe.yaml").write_text(load_recipe(recipe).to_yaml())
    assert heads_of(tmp_path) == {}
    with pytest.raises(InputError, match="no checkpoint yet"):
        kept_head(tmp_path, "vit")


@pytest.mark.parametrize(
    "projector", ["{type: identity}", "{type: ladder, shared: true}", "{type: mlp, shared: true, hidden_dim: 8}"]
)
def test_standardisation_is_undone_after_a_projector_that_cannot_contain_it(
    recipe: dict[str, Any], tmp_path: Path, projector: str
) -> None:
    recipe["teachers"]["models"] = {"vit": recipe["teachers"]["models"]["vit"]}
    job = train(recipe, tmp_path / "run", f"projector={projector}")
    head = kept_head(tmp_path / "run", "vit")
    head.precision = "fp32"
    expected, tokens = predictions(job, "vit"), head(IMAGES)
    standardised = job.standardizer({"vit": tokens})["vit"]
    torch.testing.assert_close(standardised.cls, expected.cls, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(standardised.patches, expected.patches, atol=2e-4, rtol=1e-3)


def test_option_that_no_weight_tells_of_is_in_the_fingerprint(recipe: dict[str, Any], tmp_path: Path) -> None:
    train(recipe, tmp_path / "run", "projector.norm=pre")
    head = kept_head(tmp_path / "run", "vit")
    assert (
        head.describe()
        != f"{head.student.describe()} {json.dumps([False, head.blocks, 'unic.projectors.ladder.Projector'])}"
    )
    head.projector.has_norm = False
    assert head.describe().endswith('[false, [0, 1, 2, 3, 4, 5], "unic.projectors.ladder.Projector"]')


def test_a_head_takes_the_sizes_of_its_student(recipe: dict[str, Any], tmp_path: Path) -> None:
    train(recipe, tmp_path / "run", "student.model=timm:test_vit?pretrained=false&img_size=32")
    head = kept_head(tmp_path / "run", next(iter(recipe["teachers"]["models"])))
    grid = head.grid_at((48, 64))
    assert grid is not None
    with torch.no_grad():
        tokens = head(IMAGES, (48, 64))
    assert (tokens.grid, tokens.patches.shape[1]) == (grid, grid[0] * grid[1])
    assert head(IMAGES).grid != grid


def test_heads_of_an_export_are_those_of_the_run(recipe: dict[str, Any], tmp_path: Path) -> None:
    train(recipe, tmp_path / "run")
    folder = api.export(tmp_path / "run", tmp_path / "out", formats=["onnx"], heads=["cnn"], check=False)
    heads = exported_heads(folder)
    assert list(heads) == ["cnn"]
    exported, kept = heads["cnn"](), kept_head(tmp_path / "run", "cnn", device="cpu")
    kept.precision = "fp32"
    found, expected = exported(IMAGES), kept(IMAGES)
    assert (found.grid, exported.embed_dim, exported.patch_dim) == (expected.grid, kept.embed_dim, kept.patch_dim)
    torch.testing.assert_close(found.cls, expected.cls, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.patches, expected.patches, atol=1e-4, rtol=1e-4)
    assert exported_heads(tmp_path) == {}
    models = {
        "shipped": f"run:{folder}",
        "proxy": f"run:{tmp_path / 'run'}",
        "cut": f"run:{folder}?width=8",
        "t": "pixels:8",
    }
    others = evaluating._heads_of_others(ModelColumns(models=models))
    assert {name: sorted(heads) for name, heads in others.items()} == {"shipped": ["cnn"], "proxy": ["cnn", "vit"]}
