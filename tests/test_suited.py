"""A recipe made from flags trains well: enough steps, a suitable ladder, few checkpoints, and an evaluation."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unic import cli
from unic.compose import compose
from unic.data.image_list import ImageList
from unic.preflight import check_recipe
from unic.recipe.schema import load_recipe
from unic.suited import suited
from unic.training.advice import advice
from unic.training.build import build

TEACHERS = ["vit=timm:test_vit?pretrained=false&img_size=32", "cnn=timm:test_efficientnet?pretrained=false&img_size=32"]
CPU = torch.device("cpu")
STUDENT = "timm:test_vit?pretrained=false&img_size=32"


def pictures(folder: Path, count: int, first: int = 0) -> None:
    """Images of two classes, all different."""
    for number in range(first, first + count):
        kind = folder / ("odd" if number % 2 else "even")
        kind.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(kind / f"{number}.png")


def new(*data: Path | str, **train: Any) -> tuple[dict[str, Any], list[str]]:
    return suited(compose(TEACHERS, STUDENT, [str(path) for path in data], **train))


def test_three_hundred_images_are_three_hundred_steps_or_more(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 300)
    tree, notes = new(tmp_path / "images")
    recipe = load_recipe(tree)
    job = build(recipe, CPU)
    assert (recipe.train.batch_size, job.steps_per_epoch, recipe.train.epochs) == (32, 9, 34)
    assert job.total_steps == 306
    assert (recipe.checkpoint.every, recipe.checkpoint.keep) == (77, 2)
    assert not dict(advice(job))
    assert recipe.eval.suite is None
    assert not notes
    assert not [found for found in check_recipe(recipe, CPU).findings if found.about in ("train", "projector")]


@pytest.mark.parametrize(
    ("count", "batch_size", "epochs"),
    [(20, 16, 300), (40, 32, 300), (600, 64, 34), (2000, 128, 20), (200_000, 128, 10)],
)
def test_batches_and_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, batch_size: int, epochs: int
) -> None:
    pictures(tmp_path / "images", 4)
    monkeypatch.setattr(ImageList, "epoch_length", lambda _: count)
    tree, _ = new(tmp_path / "images")
    assert (tree["train"]["batch_size"], tree["train"]["epochs"]) == (batch_size, epochs)
    assert ("lr" in tree["train"]) == (count < 200_000)
    assert (count // batch_size) * epochs >= 300


def test_what_was_typed_is_kept(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 40)
    assert new(tmp_path / "images", epochs=2)[0]["train"]["epochs"] == 2
    tree = compose(TEACHERS, STUDENT, [str(tmp_path / "images")])
    train = suited(tree, ["train.batch_size=10", "train.lr=1e-4"])[0]["train"]  # 4 steps an epoch
    assert train == {"epochs": 75, "batch_size": 10, "lr": 1e-4}


def test_of_steps_and_epochs_one_is_written(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 40)
    tree = compose(TEACHERS, STUDENT, [str(tmp_path / "images")])
    assert suited(tree, ["train.steps=40"])[0]["train"] == {"steps": 40, "batch_size": 32, "lr": 2e-3}
    assert "lr" not in suited(tree, ["train.steps=20000"])[0]["train"]  # a long run has the schema's
    both = suited(compose(TEACHERS, STUDENT, [str(tmp_path / "images")], epochs=3), ["train.steps=40"])[0]
    assert both["train"] == {"steps": 40, "batch_size": 32, "lr": 2e-3}


def test_a_labelled_test_part_is_measured_on_and_never_trained_on(tmp_path: Path) -> None:
    pictures(tmp_path / "birds/train", 40)
    pictures(tmp_path / "birds/test", 20, first=40)
    tree, notes = new(tmp_path / "birds")
    assert not notes
    assert tree["eval"]["suite"]["data"] == [f"birds={tmp_path / 'birds'}"]
    images = ImageList.from_config(load_recipe(tree).data.train)
    assert len(images) == 40
    assert not any("birds/test" in images.name(index) for index in range(len(images)))


def test_a_part_that_is_drawn_is_measured_on(tmp_path: Path) -> None:
    pictures(tmp_path / "my birds", 40)
    tree, _ = new(f"{tmp_path / 'my birds'}?test=0.25&seed=1")
    assert tree["eval"]["suite"]["data"] == [f"my_birds={tmp_path / 'my birds'}?test=0.25&seed=1"]


def test_a_test_part_without_labels_or_with_training_images_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "flat/train", 40)
    (tmp_path / "flat/test").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "flat/test/a.png")
    tree, notes = new(tmp_path / "flat")
    assert "eval" not in tree
    assert len(notes) == 1
    assert notes[0].startswith(f"{tmp_path / 'flat'}: ")
    pictures(tmp_path / "birds/train", 40)
    pictures(tmp_path / "birds/test", 20, first=40)
    pictures(tmp_path / "more", 10, first=50)  # ten of the test images
    tree, notes = new(tmp_path / "birds", tmp_path / "more")
    assert "eval" not in tree
    (note,) = notes
    assert re.match(f"{tmp_path / 'birds'}: .*training image", note)
    monkeypatch.setattr("unic.suited._MOST_COMPARED", 60)
    assert re.match(f"{tmp_path / 'birds'}: .*more than 60 images", new(tmp_path / "birds", tmp_path / "more")[1][0])


def test_the_whole_path_from_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`distill` from flags evaluates at the end; a resume keeps the values chosen at the start."""
    monkeypatch.chdir(tmp_path)
    pictures(Path("birds/train"), 40)
    pictures(Path("birds/test"), 20, first=40)
    flags = ["--teachers", ",".join(TEACHERS), "--student", STUDENT, "--data", "birds", "--out", "run"]
    few = ["train.epochs=3", "data.workers=0", "trackers=[]"]
    sys.argv = ["unic", "distill", *few, *flags]
    cli.main()
    said = capsys.readouterr()
    assert "birds/knn" in said.out
    assert "warning: train: 3 steps" in said.err
    chosen = Path("run/recipe.yaml").read_text()
    monkeypatch.setattr("unic.suited.suited", lambda *_: pytest.fail("chosen again"))
    sys.argv = ["unic", "distill", *few, *flags, "--resume"]
    cli.main()
    assert Path("run/recipe.yaml").read_text() == chosen


def test_another_projector_gets_no_widths_of_a_ladder(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 40)
    overrides = ["projector.type=transformer"]
    tree, _ = suited(compose(TEACHERS, STUDENT, [str(tmp_path / "images")]), overrides)
    assert tree["projector"] == {"type": "transformer"}
    build(load_recipe(tree, overrides), CPU)
