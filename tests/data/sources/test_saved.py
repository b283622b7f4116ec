"""Folders that `save_to_disk` has written."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from pathlib import Path

import datasets
import pytest
from PIL import Image

from unic.data.sources import Source, open_source
from unic.data.sources._split_names import splits_of
from unic.errors import InputError


def png(red: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def part(labels: list, kind: object) -> datasets.Dataset:
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    rows = {"image": [{"bytes": png(red), "path": None} for red in range(len(labels))], "label": labels}
    return datasets.Dataset.from_dict(rows, features=features)


def labels(source: Source) -> list[int | None]:
    return [source.label(index) for index in range(len(source))]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    kind = datasets.ClassLabel(names=["a", "b"])
    parts = {"train": part([1, 0, 1], kind), "test": part([0, 1], kind)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "disk"))
    return tmp_path / "disk"


def test_parts_of_a_saved_set(saved):
    whole = open_source(str(saved))
    assert (len(whole), whole.classes, labels(whole)) == (3, ["a", "b"], [1, 0, 1])
    assert [whole.read(index).getpixel((0, 0))[0] for index in range(3)] == [0, 1, 2]
    assert labels(open_source(str(saved), split="test")) == labels(open_source(f"{saved}/test")) == [0, 1]
    assert pickle.loads(pickle.dumps(whole)).read(2).size == (4, 4)
    assert splits_of(str(saved)) == ["test", "train"]
    assert splits_of(f"{saved}/test") == []
    with pytest.raises(InputError, match="split 'val'.*test, train$"):
        open_source(str(saved), split="val")
    with pytest.raises(InputError, match=r"split 'test'.*\?test="):
        open_source(f"{saved}/train", split="test")


def test_words_are_classes_of_all_parts(tmp_path):
    parts = {"train": part(["b", "a"], datasets.Value("string")), "test": part(["c"], datasets.Value("string"))}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "disk"))
    for path, split in ((f"{tmp_path}/disk", "test"), (f"{tmp_path}/disk/test", None)):
        source = open_source(path, split=split)
        assert (source.classes, labels(source)) == (["a", "b", "c"], [2])


def test_its_fingerprint_is_of_its_files(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "copy")
    one, other = open_source(str(saved)), open_source(f"{tmp_path}/copy")
    assert one.portable_fingerprint() == other.portable_fingerprint()
    assert one.fingerprint() != open_source(str(saved), split="test").fingerprint()


def test_damaged_folders_are_one_line(saved):
    state = json.loads((saved / "train" / "state.json").read_text())
    (saved / "secret.arrow").write_bytes(b"")
    outside = {**state, "_data_files": [{"filename": "../secret.arrow"}]}
    for text in ("{", "{}", json.dumps(outside), json.dumps({**state, "_data_files": [{"filename": "no.arrow"}]})):
        (saved / "train" / "state.json").write_text(text)
        with pytest.raises(InputError, match=r"state.json") as error:
            open_source(str(saved))
        assert "\n" not in str(error.value)
    (saved / "train" / "state.json").write_text(json.dumps(state))
    (saved / "train" / state["_data_files"][0]["filename"]).write_bytes(b"nothing")
    with pytest.raises(InputError, match="train is damaged"):
        open_source(str(saved))
