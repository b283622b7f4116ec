"""A part is asked for by name: a set without parts has none, and its whole is never passed off as one."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unic.data.sources import open_source
from unic.errors import InputError


def save(file: Path, number: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(file)
    return file


def parquet(file: Path, count: int = 3) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [save(file.parent / f".{number}.png", number).read_bytes() for number in range(count)]
    pq.write_table(pa.table({"image": images}), file)
    return file


def shard(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:") as archive:
        archive.add(save(file.parent / ".a.png"), "a.png")
    return file


@pytest.fixture
def place(tmp_path: Path) -> Path:
    parquet(tmp_path / "all.parquet")
    for number in range(2):
        shard(tmp_path / "shards" / f"birds-{number}.tar")
        save(tmp_path / "classes" / f"{number}" / "a.png")
        save(tmp_path / "masked" / "images" / f"{number}.png")
        save(tmp_path / "masked" / "depth" / f"{number}.png")
        Image.fromarray(np.full((4, 4), 900 + number, np.uint16)).save(tmp_path / "masked" / "depth" / f"{number}.png")
    return tmp_path


WITHOUT_PARTS = {
    "all.parquet": 3, "*.parquet": 3, "shards": 2, "shards/birds-0.tar": 1, "shards/*.tar": 2,
    "shards/birds-{0..1}.tar": 2, "classes": 2, "masked": 2,
}  # fmt: skip


@pytest.mark.parametrize("path", WITHOUT_PARTS)
def test_a_set_without_parts_is_all_for_training_and_has_no_part(place, path):
    assert len(open_source(f"{place}/{path}")) == WITHOUT_PARTS[path]
    for split in ("train", "test", "val"):
        with pytest.raises(InputError) as error:
            open_source(f"{place}/{path}", split=split)
        assert f"split '{split}'" in str(error.value)
        assert f"'{place}/{path}?test=0.2&seed=0'" in str(error.value)


def test_the_url_of_a_shard_has_no_part(place):
    for url in (f"file://{place}/shards/birds-0.tar", f"file://{place}/shards/birds-{{0..1}}.tar"):
        with pytest.raises(InputError, match="split 'test'.*{split}"):
            open_source(url, split="test")
    with pytest.raises(InputError, match="runs a shell command"):
        open_source("pipe:cat x.tar", split="test")


def test_files_of_parts_that_a_pattern_names(place):
    parquet(place / "named" / "train-0.parquet", 4)
    parquet(place / "named" / "test-0.parquet", 2)
    pattern = f"{place}/named/*.parquet"
    assert [len(open_source(pattern, split=split)) for split in (None, "train", "test")] == [6, 4, 2]
    with pytest.raises(InputError, match="split 'val'.*test, train$"):
        open_source(pattern, split="val")
    with pytest.raises(InputError, match=r"split 'test'.* train;.*\?test="):
        open_source(f"{place}/named/train-0.parquet", split="test")


def test_the_name_of_the_part_in_the_path(place):
    for split, count in (("train", 2), ("test", 1)):
        for number in range(count):
            save(place / "parts" / split / "class" / f"{number}.png", number)
    path = f"{place}/parts/{{split}}"
    assert [len(open_source(path, split=split)) for split in (None, "train", "test")] == [2, 2, 1]
    with pytest.raises(InputError, match="{split}.*test="):
        open_source(f"{path}?test=0.5")


def split_set(place: Path, **images: int) -> str:
    """A folder for each split with so many images of one class."""
    for name, count in images.items():
        for number in range(count):
            save(place / name.replace("__", "-") / "cat" / f"{number}.png", number)
    return str(place)


@pytest.mark.parametrize(
    ("names", "asked", "counts"),
    [
        (("train", "valid"), (None, "train", "val"), (2, 2, 1)),
        (("Training", "Testing"), (None, "train", "test"), (2, 2, 1)),
        (("TRAIN", "Val"), (None, "train", "validation"), (2, 2, 1)),
        (("train", "dev"), (None, "training", "val"), (2, 2, 1)),
    ],
)
def test_splits_as_people_spell_them(tmp_path, names, asked, counts):
    path = split_set(tmp_path / "set", **dict(zip(names, (2, 1), strict=True)))
    assert tuple(len(open_source(path, split=split)) for split in asked) == counts
    for name, count in zip(names, (4, 3), strict=True):
        parquet(tmp_path / "rows" / f"{name}-0.parquet", count)
        shard(tmp_path / "shards" / name / "0.tar")
        save(tmp_path / "masked" / name / "images" / "0.png")
        save(tmp_path / "masked" / name / "depth" / "0.png")
        Image.fromarray(np.full((4, 4), 900, np.uint16)).save(tmp_path / "masked" / name / "depth" / "0.png")
    assert [len(open_source(f"{tmp_path}/rows", split=split)) for split in asked] == [4, 4, 3]
    assert [len(open_source(f"{tmp_path}/shards", split=split)) for split in asked] == [1, 1, 1]
    assert [len(open_source(f"{tmp_path}/rows/{{split}}-*.parquet", split=split)) for split in asked] == [4, 4, 3]
    assert open_source(f"{tmp_path}/masked", split=asked[2]).pixels == "depth"


def test_the_spelling_that_is_asked_for_wins(tmp_path):
    path = split_set(tmp_path / "set", train=3, val=2, validation=1)
    assert [len(open_source(path, split=split)) for split in ("val", "validation")] == [2, 1]
    with pytest.raises(InputError, match="'dev'.* val or validation"):
        open_source(path, split="dev")


@pytest.mark.parametrize("stray", ["__MACOSX", "lost+found", "annotations"])
@pytest.mark.parametrize("others", [{"train": 2}, {"train": 2, "val": 1}])
def test_what_tools_leave_beside_splits_makes_no_training_images(tmp_path, stray, others):
    path = split_set(tmp_path / "set", **others)
    save(tmp_path / "set" / stray / "train" / "cat" / "0.png")
    source = open_source(path)
    assert (len(source), source.classes) == (2, ["cat"])


def test_other_folders_beside_a_training_and_a_test_split_are_named(tmp_path, caplog):
    path = split_set(tmp_path / "set", train=2, test=1, unlabelled=5)
    assert len(open_source(path)) == 2
    assert "left out: unlabelled" in caplog.text


def test_a_class_may_be_called_train(tmp_path):
    path = split_set(tmp_path / "set", train=2, car=1)
    source = open_source(path)
    assert (len(source), source.classes) == (3, ["car", "train"])


def test_a_stray_picture_beside_class_folders_is_named(tmp_path, caplog):
    path = split_set(tmp_path / "set", cat=9, dog=9)
    save(tmp_path / "set" / "contact sheet.png")
    assert open_source(path).classes is None
    assert re.search(r"no labels.*contact sheet\.png", caplog.text)
