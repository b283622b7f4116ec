"""Whole runs at toy size: the folder, exact resume, micro-batches, what is refused, what is survived."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unic.data.sources.folder import Folder
from unic.encoders import Encoder
from unic.errors import InputError, StoppedError
from unic.recipe.schema import load_recipe
from unic.runs.metrics import read_metrics
from unic.training.build import build
from unic.training.train import fit

QUIET = Console(quiet=True)


def run(recipe: dict[str, Any], out: Path, *overrides: str, **options: Any) -> list[dict[str, Any]]:
    fit(load_recipe(recipe, overrides), out, console=QUIET, **options)
    return read_metrics(out)


def losses(rows: list[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


def test_run_folder(recipe: dict[str, Any], tmp_path: Path) -> None:
    rows = run(recipe, tmp_path / "run")
    assert [row["step"] for row in rows] == list(range(1, 9))
    teachers = ("vit", "cnn")
    keys = {"step", "loss", "lr", "grad_norm", "images_per_s", "data_wait"}
    keys |= {key for t in teachers for key in (f"loss/{t}", f"cos/{t}/cls", f"cos/{t}/patch", f"kept/{t}")}
    assert all(set(row) == keys for row in rows)
    assert all(0.5 <= row["kept/vit"] + row["kept/cnn"] <= 2 for row in rows)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "recipe.yaml", "metrics.jsonl", "train.log", "checkpoints", "tensorboard", "environment.json",
    }  # fmt: skip
    assert (tmp_path / "run/checkpoints/last").read_text() == "step-8"
    assert load_recipe(tmp_path / "run/recipe.yaml") == load_recipe(recipe)
    assert not list(tmp_path.rglob("*.pt")) + list(tmp_path.rglob("*.pkl"))


def test_training_learns(recipe: dict[str, Any], tmp_path: Path) -> None:
    rows = run(recipe, tmp_path / "run", "train.steps=60", "data.augment=none", "train.lr=0.1", "student.drop_path=0")
    assert rows[-1]["cos/vit/cls"] > rows[1]["cos/vit/cls"] + 0.1
    assert rows[-1]["cos/cnn/patch"] > rows[1]["cos/cnn/patch"] + 0.1


@pytest.mark.parametrize("cache", ["null", "{views: 2}"])
def test_resume_is_bit_identical(recipe: dict[str, Any], tmp_path: Path, cache: str) -> None:
    """The run dies in the middle of an epoch, two steps after its last checkpoint."""
    whole = run(recipe, tmp_path / "whole", f"teachers.cache={cache}")

    def die(encoder: Encoder, step: int) -> dict[str, float]:
        raise RuntimeError("power cut")

    options = (f"teachers.cache={cache}", "eval.every=5")
    with pytest.raises(RuntimeError, match="power cut"):
        run(recipe, tmp_path / "broken", *options, callback=die)
    assert read_metrics(tmp_path / "broken")[-1]["step"] == 5
    resumed = run(recipe, tmp_path / "broken", *options, resume=True)
    assert losses(resumed) == losses(whole)
    a, b = ((tmp_path / name / "checkpoints/step-8/tensors.safetensors").read_bytes() for name in ("whole", "broken"))
    assert a == b


def test_resume_starts_where_there_is_nothing(recipe: dict[str, Any], tmp_path: Path) -> None:
    assert len(run(recipe, tmp_path / "new", resume=True)) == 8


def test_callback_sees_the_student_and_is_logged(recipe: dict[str, Any], tmp_path: Path) -> None:
    modes = []

    def probe(encoder: Encoder, step: int) -> dict[str, float]:
        modes.append((step, encoder.training))
        return {"knn/toy": 50.0}

    with_probe = run(recipe, tmp_path / "a", "eval.every=4", callback=probe)
    assert modes == [(4, False), (8, False)]
    assert [row["step"] for row in with_probe if "knn/toy" in row] == [4, 8]
    assert losses(with_probe) == losses(run(recipe, tmp_path / "b"))  # looking does not change the run


def test_micro_batches_do_not_change_the_losses(recipe: dict[str, Any], tmp_path: Path) -> None:
    one = losses(run(recipe, tmp_path / "one"))
    four = losses(run(recipe, tmp_path / "four", "train.micro_batches=4"))
    for (_, a), (_, b) in zip(one, four, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_cached_targets_train_the_same_student(recipe: dict[str, Any], tmp_path: Path) -> None:
    live = losses(run(recipe, tmp_path / "live", "data.augment=none"))
    cached = losses(run(recipe, tmp_path / "cached", "data.augment=none", "teachers.cache={dtype: fp32}"))
    for (_, a), (_, b) in zip(live, cached, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_cls_alone_is_learnt_and_said(recipe: dict[str, Any], tmp_path: Path) -> None:
    options = ("teachers.cache={tokens: cls}", "train.steps=60", "data.augment=none", "train.lr=0.1")
    rows = run(recipe, tmp_path / "run", *options)
    assert rows[-1]["cos/vit/cls"] > rows[1]["cos/vit/cls"] + 0.1
    assert not any("patch" in key for key in rows[-1])
    assert "CLS alone" in (tmp_path / "run/train.log").read_text()


def test_trial_batch_leaves_no_trace(recipe: dict[str, Any]) -> None:
    """A batch-norm student: its running statistics must be those of a fresh model."""
    settings = load_recipe(recipe, ["student.model=timm:test_efficientnet?pretrained=false"])
    job = build(settings, torch.device("cpu"))
    state = job.student.state_dict()
    assert state["model.bn1.num_batches_tracked"] == 0
    assert torch.equal(state["model.bn1.running_mean"], torch.zeros_like(state["model.bn1.running_mean"]))
    assert all(parameter.grad is None for parameter in job.distiller.parameters())
    assert not job.optimizer.state
    standardizer = job.standardizer.state_dict()
    assert not standardizer["teachers.vit.cls.mean"].any()


def test_from_scratch_the_final_norm_stays_as_it_is(recipe: dict[str, Any], tmp_path: Path) -> None:
    student = fit(load_recipe(recipe), tmp_path / "run", console=QUIET)
    state = student.state_dict()
    assert torch.equal(state["model.norm.weight"], torch.ones_like(state["model.norm.weight"]))
    assert not state["model.norm.bias"].any()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("teachers.models={vit: 'timm:test_vit?pretrained=false&img_size=32'}", "vit, cnn"),
        ("seed=4", "'seed'.* 3 .* 4 "),
        ("train.lr=0.02", "'train.lr'.* 0.01 .* 0.02 "),
    ],
)
def test_resume_refuses_another_run(recipe: dict[str, Any], tmp_path: Path, override: str, line: str) -> None:
    run(recipe, tmp_path / "run", "train.steps=3")
    with pytest.raises(InputError, match=line):
        run(recipe, tmp_path / "run", "train.steps=3", override, resume=True)


def test_a_resume_may_split_its_batches(recipe: dict[str, Any], tmp_path: Path) -> None:
    def die(encoder: Encoder, step: int) -> dict[str, float]:
        raise RuntimeError("out of memory somewhere")

    fit(load_recipe(recipe), tmp_path / "whole", console=QUIET)
    settings = load_recipe(recipe, ["checkpoint.every=2", "eval.every=3"])
    with pytest.raises(RuntimeError, match="out of memory somewhere"):
        fit(settings, tmp_path / "run", console=QUIET, callback=die)
    fit(load_recipe(recipe, ["train.micro_batches=2"]), tmp_path / "run", console=QUIET, resume=True)
    whole, parts = ([row["loss"] for row in read_metrics(tmp_path / name)] for name in ("whole", "run"))
    assert parts[:2] == whole[:2]
    assert parts == pytest.approx(whole, abs=1e-4)


def test_folder_in_use_is_refused(recipe: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty.*resume=True"):
        run(recipe, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("loss={cosin: 1}", "'cosin'.*'cosine'"),
        ("student.model=timm:test_vitt", "timm.*'test_vitt'"),
        ("student.model=pixels:8", "cannot be a student"),
        ("projector={type: lader}", "'lader'.*'ladder'"),
        ("projector={type: ladder, blocks: [99]}", "blocks 0 to"),
        ("data.augment=unik", "'unik'.*'unic'"),
        ("train.batch_size=64", "64.* 40 images"),
        ("train.micro_batches=9", "8 .* 1 .* 9 "),
        ("teachers.shard=true", "'teachers.shard'.*fsdp"),
    ],
)
def test_bad_recipe_writes_nothing(recipe: dict[str, Any], tmp_path: Path, override: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        run(recipe, tmp_path / "run", override)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_batch_level_dropping_needs_the_whole_batch(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train.micro_batches"):
        run(recipe, tmp_path / "run", "weighting.level=batch", "train.micro_batches=2")


def test_damaged_images_are_listed(recipe: dict[str, Any], image_folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(image_folder, images)
    (images / "warm/broken.png").write_bytes(b"")
    run(recipe, tmp_path / "run", f"data.train={images}", "train.steps=10", "data.max_damaged=0.05")
    listed = json.loads((tmp_path / "run/damaged.json").read_text())
    assert len(listed) == 1
    assert "broken.png" in listed[0][0]
    assert "WARNING damaged image, skipped: " in (tmp_path / "run/train.log").read_text()


def test_too_many_damaged_images_end_the_run(recipe: dict[str, Any], image_folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(image_folder, images)
    for number in range(5):
        (images / f"warm/broken{number}.png").write_bytes(b"no image")
    with pytest.raises(StoppedError, match="more than data.max_damaged = 1.00%.*checkpoint saved at step"):
        run(recipe, tmp_path / "run", f"data.train={images}", "train.steps=30")
    assert (tmp_path / "run/checkpoints/last").exists()


def test_non_finite_step_is_skipped_and_counted(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unic.training.teachers import LiveTeachers

    call, original = [0], LiveTeachers.__call__

    def sometimes_nan(self: LiveTeachers, *arguments: Any) -> Any:
        call[0] += 1
        targets = original(self, *arguments)
        if call[0] == 4:  # the first call is the trial batch, so this is step 3
            targets["vit"].cls[0] = float("nan")
        return targets

    monkeypatch.setattr(LiveTeachers, "__call__", sometimes_nan)
    rows = run(recipe, tmp_path / "run")
    assert [row.get("skipped", 0) for row in rows] == [0, 0, 1, 1, 1, 1, 1, 1]
    assert rows[2]["loss"] is None
    assert all(row["loss"] is not None for row in rows[3:])


def test_a_source_trains_the_teachers_that_own_it(recipe: dict[str, Any], image_folder: Path, tmp_path: Path) -> None:
    path = str(image_folder)
    recipe["data"]["train"] = [{"path": path, "teachers": ["cnn"]}, {"path": path, "teachers": ["cnn", "vit"]}]
    recipe["weighting"] = {"type": "uniform"}
    rows = run(recipe, tmp_path / "run", "train.batch_size=16", "train.steps=10")
    kept = [row["kept/vit"] for row in rows]
    assert {row["kept/cnn"] for row in rows} == {1.0}
    assert 0 < min(kept) <= max(kept) < 1
    assert sum(kept[:5]) / 5 == pytest.approx(0.5)  # an epoch: the images of the second source
    recipe["data"]["train"] = [{"path": path, "teachers": []}]
    with pytest.raises(InputError, match="at least 1"):
        load_recipe(recipe)
    recipe["data"]["train"] = [{"path": path, "teachers": ["vitt"]}]
    with pytest.raises(InputError, match="'data.train.0.teachers'.*'vitt'.*'vit'"):
        run(recipe, tmp_path / "wrong")


def test_a_source_that_fails_in_the_middle_loses_no_step(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(recipe, tmp_path / "whole")
    read, calls = Folder.encoded, []

    def fails(self: Folder, index: int) -> Path:
        calls.append(index)
        if len(calls) > 45:
            raise InputError("data 'images': the network is gone")
        return read(self, index)

    monkeypatch.setattr(Folder, "encoded", fails)
    with pytest.raises(InputError, match="the network is gone; .*step 4; .*resume=True"):
        run(recipe, tmp_path / "run")
    assert "the network is gone" in (tmp_path / "run/train.log").read_text()
    monkeypatch.undo()
    assert losses(run(recipe, tmp_path / "run", resume=True)) == losses(whole)
