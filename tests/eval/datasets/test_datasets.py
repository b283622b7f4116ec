import inspect
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image

from unic import lookup
from unic.errors import InputError
from unic.eval.datasets import open_pair, resolve

MODULES = {
    name: lookup.module("unic.eval.datasets", name) for name in lookup.names("unic.eval.datasets") if name != "base"
}
SAMPLES = [name for name, module in MODULES.items() if hasattr(module, "sample")]
PACKAGED = ["digits", "mnist"]  # come with other packages


@pytest.mark.parametrize("name", MODULES)
def test_every_file_keeps_the_contract(name):
    module = MODULES[name]
    first = lookup.first_line(module)
    assert 10 < len(first) <= 120
    assert first.endswith(".")
    root, download, *options = inspect.signature(module.load).parameters.values()
    assert (root.name, download.name, download.default) == ("root", "download", False)
    assert all(option.kind is option.KEYWORD_ONLY for option in (download, *options))
    if name not in SAMPLES:
        assert module.COUNTS is None or len(module.COUNTS) == 3


@pytest.mark.parametrize("name", [name for name in MODULES if name not in PACKAGED])
def test_a_set_that_is_not_there_is_one_line_with_the_folder(name, monkeypatch, tmp_path):
    monkeypatch.setenv("UNIC_SAMPLES", str(tmp_path / "samples"))
    with pytest.raises(InputError) as error:
        resolve(name, root=tmp_path / "data")
    assert str(tmp_path) in str(error.value)
    assert str(error.value).startswith("data '")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_set_opens_with_the_same_classes_on_both_sides(name):
    pair = resolve(name, max_train=20, max_test=10)
    assert pair.name == name
    assert (len(pair.train), len(pair.test)) == (20, 10)
    assert pair.classes == pair.train.classes == pair.test.classes


def test_samples_can_be_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("UNIC_SAMPLES", str(tmp_path))
    with pytest.raises(InputError, match="set UNIC_SAMPLES"):
        resolve("clipart")


def test_a_folder_needs_no_file(coloured):
    pair = resolve(f"mine={coloured}", max_train=12)
    assert (pair.name, len(pair.train), len(pair.test)) == ("mine", 12, 30)
    assert pair.classes == ["blue", "green", "red"]


def test_test_labels_follow_the_training_classes(coloured, tmp_path):
    shutil.copytree(coloured / "train", tmp_path / "train")
    for label in ("blue", "red"):
        shutil.copytree(coloured / "val" / label, tmp_path / "test" / label)
    pair = open_pair("few", str(tmp_path))
    assert pair.test_labels(np.array([0, 1])).tolist() == [0, 2]
    (tmp_path / "test" / "red").rename(tmp_path / "test" / "reed")
    with pytest.raises(InputError, match="'reed'.*'red'"):
        open_pair("few", str(tmp_path))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("glyph", "'glyph'.*'glyphs'"),
        ("=x", "expected NAME=PATH"),
        ("x=", "expected NAME=PATH"),
        ("x=/nowhere/at/all", "no such file"),
    ],
)
def test_wrong_names_are_one_line(spec, message):
    with pytest.raises(InputError, match=message):
        resolve(spec)


def test_unlabelled_or_missing_test_images_are_refused(coloured, tmp_path):
    with pytest.raises(InputError, match="no split 'test'"):
        open_pair("x", str(coloured / "train"))
    for split in ("train", "test"):
        shutil.copytree(coloured / "val" / "red", tmp_path / split)
    with pytest.raises(InputError, match="has no labels"):
        open_pair("x", str(tmp_path))


def pictures(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(folder / f"{folder.parent.name}{number}.png")


def test_labels_decide_between_test_and_val(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """ImageNet's layout: its test images have no labels, so that val is measured on."""
    for kind in ("cat", "dog"):
        pictures(tmp_path / "train" / kind, 3)
        pictures(tmp_path / "val" / kind, 2)
    pictures(tmp_path / "test", 5)
    pair = open_pair("mine", str(tmp_path))
    assert (len(pair.train), len(pair.test), pair.test.classes) == (6, 4, ["cat", "dog"])
    assert re.search(r"no labels, so the evaluation uses .*\bval$", caplog.text.strip())


def test_parquet_with_labels_of_minus_one_falls_through_to_validation(tmp_path: Path) -> None:
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=["cat", "dog"])})
    for split, labels in {"train": [0, 1], "validation": [0, 1, 1], "test": [-1, -1, -1, -1]}.items():
        pictures(tmp_path / "pictures" / split, len(labels))
        files = [str(file) for file in sorted((tmp_path / "pictures" / split).iterdir())]
        Dataset.from_dict({"image": files, "label": labels}, features=features).to_parquet(
            tmp_path / "set" / f"{split}-0.parquet"
        )
    pair = open_pair("mine", f"{tmp_path}/set")
    assert (len(pair.train), len(pair.test)) == (2, 3)
