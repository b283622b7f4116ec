"""Labels in `metadata.csv` beside the images: the folder stays the same set, with classes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from unic.data.sources import open_source
from unic.errors import InputError


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)


def classes(path: str, split: str | None = None) -> list[str | None]:
    source = open_source(path, split=split)
    labels = [source.label(index) for index in range(len(source))]
    return [None if label is None else (source.classes or [])[label] for label in labels]


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    pictures(tmp_path / "flat", "a.png", "b.png", "c.png")
    return tmp_path / "flat"


def test_the_labels_of_a_flat_folder(flat):
    before = open_source(str(flat))
    (flat / "metadata.csv").write_text("file_name,label\nc.png,owl\na.png,bat\nb.png,owl\nmissing.png,cow\n")
    after = open_source(str(flat))
    assert classes(str(flat)) == ["bat", "owl", "owl"]
    assert after.classes == ["bat", "cow", "owl"]
    assert after.fingerprint() == before.fingerprint()  # a run that trained on the folder goes on


def test_json_lines_and_another_column(flat):
    rows = [f'{{"file_name": "{name}.png", "text": "{name}"}}\n' for name in "abc"]
    (flat / "metadata.jsonl").write_text("".join(rows))
    source = open_source(str(flat))
    assert source.classes is None
    assert re.match(r"metadata\.jsonl: .*'label'.*\?label=text", source.why_unlabelled)
    assert classes(f"{flat}?label=text") == ["a", "b", "c"]
    with pytest.raises(InputError, match="'txt'.*'text'"):
        open_source(f"{flat}?label=txt")


def test_splits_with_one_list_each_or_one_for_all(tmp_path):
    pictures(tmp_path / "set", "train/a.png", "train/b.png", "test/c.png")
    (tmp_path / "set" / "metadata.csv").write_text("file_name,label\ntrain/a.png,x\ntrain/b.png,z\ntest/c.png,y\n")
    assert (classes(f"{tmp_path}/set"), classes(f"{tmp_path}/set", "test")) == (["x", "z"], ["y"])
    assert open_source(f"{tmp_path}/set", split="test").classes == ["x", "y", "z"]
    (tmp_path / "set" / "metadata.csv").unlink()
    for split, text in {"train": "a.png,x\nb.png,z\n", "test": "c.png,y\n"}.items():
        (tmp_path / "set" / split / "metadata.csv").write_text(f"file_name,label\n{text}")
    for path in (f"{tmp_path}/set", f"{tmp_path}/set/{{split}}"):
        for split in ("train", "test"):
            assert open_source(path, split=split).classes == ["x", "y", "z"]


def test_what_does_not_fit_is_said_where_labels_are_needed(flat):
    (flat / "metadata.csv").write_text("file_name,label\na.png,1\n")
    source = open_source(str(flat))
    assert (source.classes, source.label(0), len(source)) == (None, None, 3)
    assert re.match(r"2 of its 3 images .*metadata\.csv.*b\.png", source.why_unlabelled)
    (flat / "metadata.csv").write_text("notes\nof mine\n")
    assert "no image column" in open_source(str(flat)).why_unlabelled


def test_class_folders_and_a_column_of_classes(tmp_path):
    pictures(tmp_path / "set", "cat/a.png", "dog/b.png")
    (tmp_path / "set" / "metadata.csv").write_text("file_name,title\ncat/a.png,Tom\ndog/b.png,Rex\n")
    assert classes(f"{tmp_path}/set") == ["cat", "dog"]
    (tmp_path / "set" / "metadata.csv").write_text("file_name,label\ncat/a.png,Tom\ndog/b.png,Rex\n")
    assert re.search(r"folders .*'label' of metadata\.csv", open_source(f"{tmp_path}/set").why_unlabelled)
    assert classes(f"{tmp_path}/set?label=label") == ["Tom", "Rex"]


def test_a_set_without_columns_takes_none(flat):
    with pytest.raises(InputError, match="label=x.*no columns"):
        open_source(f"{flat}?label=x")


def test_a_list_of_another_name_is_pointed_at(flat):
    (flat / "breeds.csv").write_text("file_name,label\na.png,1\n")
    reason = open_source(str(flat)).why_unlabelled
    assert re.search(f"class folders.* {flat}/breeds.csv$", reason)
    assert classes(f"{flat}/breeds.csv") == ["1"]
