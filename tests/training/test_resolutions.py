"""Batches of several sizes: who sees views as they are, whole runs, exact resume, what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from rich.console import Console

import unic
from unic.encoders import Encoder, load_encoder
from unic.errors import InputError
from unic.recipe.schema import load_recipe
from unic.runs.metrics import read_metrics
from unic.training.build import build
from unic.training.resolutions import resolutions
from unic.training.step import batch_loss
from unic.training.teachers import LiveTeachers
from unic.training.train import fit
from unic.training.trained import load_trained

QUIET = Console(quiet=True)
CPU = torch.device("cpu")
CLIPART = Path(__file__).parents[2] / "samples/clipart/train.parquet"
RESNET = "timm:test_resnet?pretrained=false"  # its own size is 160


@pytest.fixture
def sized(recipe: dict[str, Any]) -> dict[str, Any]:
    """Views of 32 and 48 px. A ViT student of 32 px; `cnn` follows the views, `vit` has a size of its own."""
    recipe["teachers"]["models"] = {"vit": "timm:test_vit?pretrained=false&img_size=64", "cnn": RESNET}
    recipe["data"] |= {"size": 48, "sizes": [32, 48]}
    recipe["trackers"] = {}
    return recipe


def run(recipe: dict[str, Any], out: Path, *overrides: str, **options: Any) -> list[dict[str, Any]]:
    fit(load_recipe(recipe, overrides), out, console=QUIET, **options)
    return read_metrics(out)


def test_who_sees_what(sized: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches of 16 px: 2 × 2 of the small views, 3 × 3 of the large ones, in the targets as in the student."""
    job = build(load_recipe(sized), CPU)
    assert re.search("32, 48 px.* student, cnn;.* vit$", job.resolutions.describe())
    seen: list[tuple[str, int]] = []
    for name, encoder in {"student": job.student, **job.encoders}.items():
        monkeypatch.setattr(
            encoder, "prepare", lambda images, size, name=name, prepare=encoder.prepare:
            seen.append((name, size[0])) or prepare(images, size)
        )  # fmt: skip
    teachers, index = job.live_teachers(), torch.arange(2)
    for side, num_patches in ((48, 9), (32, 4)):
        seen.clear()
        images = torch.rand(2, 3, side, side)
        targets = job.standardizer.eval()(teachers(images, index, index))
        assert job.distiller(images, targets, 1, index).losses.isfinite().all()
        assert dict(seen) == {"student": side, "cnn": side, "vit": 64}
        assert {tokens.patches.shape[1] for tokens in targets.values()} == {num_patches}


def test_a_teacher_takes_the_sizes_that_it_can() -> None:
    """Patches of 16 px do not cut 40 px; such views come to it at its own size, 160 px."""
    encoder = load_encoder("timm:test_vit?pretrained=false", precision="fp32")
    recipe = {
        "teachers": {"models": {"vit": encoder.uri}}, "student": {"model": f"{RESNET}&img_size=48", "drop_path": 0},
        "data": {"train": "x", "size": 48, "sizes": [40, 48]},
    }  # fmt: skip
    data = load_recipe(recipe).data
    student = load_encoder(f"{RESNET}&img_size=48", precision="fp32")
    found = resolutions(data, student, {"vit": encoder})
    assert re.search(r"40, 48 px.* student, vit \(48\)$", found.describe())
    index = torch.arange(1)
    teachers = LiveTeachers({"vit": encoder}, student.grid, found)
    for side, seen in ((40, 160), (48, 48)):
        images = torch.rand(1, 3, side, side)
        expected = encoder(images, (seen, seen)).to_grid(found.grids[side, side])
        assert torch.equal(teachers(images, index, index)["vit"].patches, expected.patches)


@pytest.mark.parametrize("overrides", [(), ("train.micro_batches=2", "data.workers=1")])
def test_resume_is_bit_identical(sized: dict[str, Any], tmp_path: Path, overrides: tuple[str, ...]) -> None:
    """It dies two steps after its last checkpoint."""
    whole = run(sized, tmp_path / "whole", *overrides)

    def die(encoder: Encoder, step: int) -> dict[str, float]:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(sized, tmp_path / "broken", *overrides, "eval.every=5", callback=die)
    resumed = run(sized, tmp_path / "broken", *overrides, "eval.every=5", resume=True)
    assert [(row["step"], row["loss"]) for row in resumed] == [(row["step"], row["loss"]) for row in whole]
    a, b = ((tmp_path / name / "checkpoints/step-8/tensors.safetensors").read_bytes() for name in ("whole", "broken"))
    assert a == b


def test_micro_batches_do_not_change_the_losses(sized: dict[str, Any], tmp_path: Path) -> None:
    one, four = (run(sized, tmp_path / n, f"train.micro_batches={n}", "student.drop_path=0") for n in ("1", "4"))
    assert [row["loss"] for row in four] == pytest.approx([row["loss"] for row in one], abs=1e-5)


def test_a_stage_has_sizes_of_its_own(sized: dict[str, Any], tmp_path: Path) -> None:
    model = "timm:test_vit?pretrained=false&img_size=64"
    sized["stages"] = [{"data.sizes": None}, {"data": {"size": 64, "sizes": [48, 64]}, "student.model": model}]
    assert [plan.data.sizes for plan in load_recipe(sized).plans()] == [None, [48, 64]]
    assert len(run(sized, tmp_path / "run", "train.steps=3")) == 6
    assert "views of 48, 64 px" in (tmp_path / "run/train.log").read_text()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("data.sizes=[40,48]", "student '.*data.sizes.* 40 .*patch.* 16.* 32 or 48"),
        ("data.sizes=[48]", r"data\.sizes.*48.*32 px"),
        ("student.model=timm:swin_tiny_patch4_window7_224?pretrained=false&img_size=32", r"fixed.*data\.sizes"),
    ],
)
def test_a_student_that_cannot(sized: dict[str, Any], tmp_path: Path, override: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        run(sized, tmp_path / "run", override)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_real_teachers_train_a_student_that_is_exported_at_its_own_size(sized: dict[str, Any], tmp_path: Path) -> None:
    """Views of 64 and 96 px: lite0 follows, the text recogniser keeps 48 × 64 px."""
    sized["teachers"]["models"] = {"lite0": "packaged:efficientnet_lite0", "ocr": "packaged:ppocr_v4_rec"}
    sized["student"] = {"model": "timm:test_vit?pretrained=false&img_size=64", "drop_path": 0.0}
    sized["data"] |= {"train": [{"path": str(CLIPART), "limit": 32}], "size": 96, "sizes": [64, 96], "augment": "none"}
    sized["projector"] = {"type": "ladder", "hidden_dim": 32, "last_hidden_dim": 64}
    sized["standardize"] = {"type": "ema", "momentum": [0.5, 0.05]}
    rows = run(sized, tmp_path / "run", "train.steps=32", "train.batch_size=16", "train.lr=0.1")
    assert re.search(": student, lite0;.* ocr", (tmp_path / "run/train.log").read_text())
    early, late = (sum(row["loss"] for row in part) for part in (rows[3:9], rows[-6:]))  # after the first statistics
    assert late < 0.95 * early
    exported = unic.export(tmp_path / "run")
    model = timm.create_model(f"local-dir:{exported}", pretrained=True).eval()
    assert tuple(model.pretrained_cfg["input_size"]) == (3, 64, 64)
    student, images = load_encoder(f"run:{tmp_path / 'run'}", precision="fp32"), torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(student(images).cls, model(student.prepare(images)), rtol=0, atol=1e-6)


def test_a_student_trains_on_smaller_images_than_it_is_used_on(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patches of 16 px: 2 × 2 while it trains, 3 × 3 after it, and so in the next stage."""
    recipe |= {"trackers": {}, "stages": [{"student.train_size": 32}, {"train.steps": 4}]}
    recipe["student"]["model"] = "timm:test_vit?pretrained=false&img_size=48"
    recipe["data"]["size"] = 48
    first, second = (build(plan, CPU) for plan in load_recipe(recipe).plans())
    assert (first.grid, first.own_grid, second.grid) == ((2, 2), (3, 3), (3, 3))
    sizes = []
    prepare = first.student.prepare
    monkeypatch.setattr(first.student, "prepare", lambda images, size: sizes.append(size) or prepare(images, size))
    outputs = batch_loss(first, first.live_teachers(), first.first_batch(2), 1).targets
    assert sizes == [(32, 32)]
    assert {tokens.patches.shape[1] for tokens in outputs.values()} == {4}
    rows = run(recipe, tmp_path / "run")
    assert rows[-1]["step"] == 12
    log = (tmp_path / "run/train.log").read_text()
    assert "input 48x48, 64/64-d, grid 3x3" in log
    assert len(re.findall("student: .*32x32.*grid 2x2", log)) == 1
    assert load_trained(tmp_path / "run").student().input_size == (48, 48)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("student.train_size=40", r"student\.train_size: .*multiple of 16|student\.train_size.*16"),
        ("data.sizes=[32]", r"student\.train_size.*data\.sizes"),
    ],
)
def test_sizes_to_train_on_that_cannot_be_are_refused(recipe: dict[str, Any], override: str, expected: str) -> None:
    recipe["student"]["train_size"] = 16
    with pytest.raises(InputError, match=expected):
        build(load_recipe(recipe, [override]), CPU)
