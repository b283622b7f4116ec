"""Lists of images and labels: CSV, TSV, JSON, JSON lines, and a path and a class in each line."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path

import pytest
from PIL import Image

from unic.data.shards.writing import write_shards
from unic.data.sources import DamagedImageError, Source, open_source
from unic.data.sources._split_names import splits_of
from unic.errors import InputError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images in `photos/`, beside it the lists, and another folder to work in."""
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(("a", "b c", "d", "e")):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def listed(file: Path, text: str) -> str:
    file.write_text(text, encoding="utf-8")
    return str(file)


def rows(source: Source) -> list[tuple[str, int, str | None]]:
    """Name, first red value and class of each image."""
    found = []
    for index in range(len(source)):
        label = source.label(index)
        name = None if label is None or source.classes is None else source.classes[label]
        found.append((source.name(index), source.read(index).getpixel((0, 0))[0], name))
    return found


WANTED = [("photos/a.png", 0, "owl"), ("photos/b c.png", 1, "bat"), ("photos/d.png", 2, "owl")]
LISTS = {
    "comma.csv": "file_name,label\nphotos/a.png,owl\nphotos/b c.png,bat\nphotos/d.png,owl\n",
    "semicolon.csv": "\ufefflabel;size;path\r\nowl;3,5;photos/a.png\r\nbat;4;photos/b c.png\r\nowl;5;photos/d.png\r\n",
    "bare.csv": "photos/a.png,owl\nphotos/b c.png,bat\n\nphotos/d.png,owl\n",
    "quoted.CSV": '"image","label"\n"photos/a.png","owl"\n"photos/b c.png","bat"\n"photos/d.png", owl\n',
    "tabs.tsv": "image\tlabel\nphotos/a.png\towl\nphotos/b c.png\tbat\nphotos/d.png\towl\n",
    "lines.txt": "photos/a.png owl\nphotos/b c.png bat\nphotos/d.png\towl\n",
    "commas.txt": "photos/a.png,owl\nphotos/b c.png, bat\nphotos/d.png,owl",
    "objects.json": json.dumps(
        [{"file": name, "label": kind, "box": [1, 2]} for name, _, kind in WANTED]
    ),
    "pairs.json": json.dumps([[name, kind] for name, _, kind in WANTED]),
    "dataset.json": json.dumps({"labels": [[name, kind] for name, _, kind in WANTED]}),
    "mapping.json": json.dumps({name: kind for name, _, kind in WANTED}),
    "lines.jsonl": "".join(json.dumps({"image": name, "label": kind}) + "\n" for name, _, kind in WANTED),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_every_kind_of_list(place, name):
    source = open_source(listed(place / name, LISTS[name]))
    assert source.classes == ["bat", "owl"]
    assert rows(source) == WANTED
    assert rows(pickle.loads(pickle.dumps(source))) == WANTED


def test_where_paths_start(place, monkeypatch):
    Image.new("RGB", (4, 4), (9, 0, 0)).save(place / "work" / "here.png")
    lines = [f"{place}/photos/a.png 0", "photos/d.png 1", "here.png 1", "../photos/e.png 0", "photos\\a.png 1"]
    path = listed(place / "all.txt", "\n".join(lines))
    source = open_source(path)
    monkeypatch.chdir(place)
    assert [red for _, red, _ in rows(source)] == [0, 2, 9, 3, 0]
    assert source.classes == ["0", "1"]


def test_images_without_a_class(place):
    assert rows(open_source(listed(place / "a.txt", "photos/a.png\nphotos/b c.png\n"))) == [
        ("photos/a.png", 0, None), ("photos/b c.png", 1, None),
    ]  # fmt: skip
    source = open_source(listed(place / "a.csv", "image,label\nphotos/a.png,3\nphotos/d.png,-1\nphotos/e.png,\n"))
    assert ([source.label(index) for index in range(3)], source.classes) == ([0, None, None], ["3"])


def test_the_column_of_classes_is_named_where_it_is_not_label(place):
    path = listed(place / "a.csv", ",id,breed,file\n0,1,pug,photos/a.png\n1,2,chow,photos/d.png\n")
    assert re.search(r"'label'.* id, breed.*\?label=id$", open_source(path).why_unlabelled)
    assert open_source(f"{path}?label=breed").classes == ["chow", "pug"]
    two = listed(place / "two.csv", "file,mask,label\nphotos/a.png,photos/d.png,1\n")
    with pytest.raises(InputError, match=r"file, mask;.*\?image=file"):
        open_source(two)
    assert rows(open_source(f"{two}?image=mask")) == [("photos/d.png", 2, "1")]


def test_a_column_split_says_the_parts(place):
    text = "file,label,Split\nphotos/a.png,x,train\nphotos/d.png,y,test\nphotos/e.png,x,valid\nphotos/b c.png,y,train\n"
    path = listed(place / "a.csv", text)
    assert [[name for name, _, _ in rows(open_source(path, split=split))] for split in (None, "test", "val")] == [
        ["photos/a.png", "photos/b c.png"], ["photos/d.png"], ["photos/e.png"],
    ]  # fmt: skip
    assert open_source(path, split="test").classes == ["x", "y"]
    assert splits_of(path) == ["test", "train", "valid"]
    other = listed(place / "b.csv", text.replace("valid", "left"))  # a column of something else
    assert len(open_source(other)) == 4


def test_lists_of_parts(place):
    listed(place / "train.csv", "image,label\nphotos/a.png,b\nphotos/d.png,c\n")
    listed(place / "val.csv", "image,label\nphotos/e.png,a\n")
    for path in (f"{place}/{{split}}.csv", f"{place}/*.csv"):
        parts = [open_source(path, split=split) for split in ("train", "val")]
        assert [len(part) for part in parts] == [2, 1]
        assert [part.classes for part in parts] == [["a", "b", "c"]] * 2
    with pytest.raises(InputError, match=r"split 'test'.*\?test=0.2&seed=0'"):
        open_source(f"{place}/train.csv", split="test")


def test_one_name_in_two_forms_of_unicode(place):
    Image.new("RGB", (4, 4), (7, 0, 0)).save(place / "photos" / "cafe\u0301.png")
    source = open_source(listed(place / "a.txt", "photos/caf\u00e9.png caf\u00e9\nphotos/a.png cafe\u0301\n"))
    assert source.classes == ["caf\u00e9"]
    assert source.read(0).getpixel((0, 0))[0] == 7


def test_names_that_are_not_utf8(place):
    os.rename(place / "photos" / "a.png", os.fsencode(place / "photos") + b"/\xe9.png")
    (place / "a.csv").write_bytes(b"image,label\nphotos/\xe9.png,caf\xe9\n")
    source = open_source(str(place / "a.csv"))
    assert source.read(0).size == (4, 4)
    assert len(source.classes or []) == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "photos/a.png 0 1 1\n", "line 1: "),
        ("a.txt", "photos/a.png 0\nREADME 1\n", "line 2: "),
        ("a.csv", "image,label\nphotos/a.png\n", "line 2 .*1 cells"),
        ("a.csv", "label,image,label\n1,photos/a.png,2\n", "columns.*label, image, label"),
        ("a.csv", "id,label\n1,2\n", "no image column.*id, label"),
        ("a.csv", "image,label\n", "a.csv has no rows"),
        ("a.csv", "", "a.csv has no rows"),
        ("a.json", "[1, 2]", "expected objects"),
        ("a.json", "{", "JSONDecodeError"),
        ("a.json", '{"images": [], "annotations": []}', "COCO"),
        ("a.json", "[" * 100000, "nested|recursion"),
        ("a.jsonl", '{"image": "photos/a.png"}\n{', "line 2 is not JSON"),
        ("a.csv", "image,label\nphotos/a.png,1\nphotos/x.png,1\n", "1 of 2 images of a.csv"),
        ("a.csv", "image,label\nphotos/a.heic,1\n", "a.heic.*pillow-heif"),
    ],
)  # fmt: skip
def test_what_is_no_list_is_one_line(place, name, text, message):
    with pytest.raises(InputError, match=message) as error:
        open_source(listed(place / name, text))
    assert str(error.value).startswith(f"data '{place / name}': ")
    assert "\n" not in str(error.value)


def test_only_images_are_read(place):
    (place / "secret").write_text("password")
    (place / "photos" / "link.png").symlink_to(place / "secret")
    with pytest.raises(InputError, match="'/etc/passwd'.*image"):
        open_source(listed(place / "a.csv", "image,label\n/etc/passwd,1\nphotos/a.png,1\nphotos/d.png,1\n"))
    source = open_source(listed(place / "b.csv", "image,label\nphotos/link.png,1\n"))
    with pytest.raises(DamagedImageError, match="link"):
        source.encoded(0)


def test_the_fingerprint_is_of_the_images(place):
    path = listed(place / "a.txt", "photos/a.png 0\nphotos/d.png 1\n")
    before = (
        open_source(path).fingerprint(),
        open_source(path).portable_fingerprint(),
        open_source(path).label_fingerprint(),
    )
    listed(place / "a.txt", "photos/a.png 1\nphotos/d.png 1\n")
    assert open_source(path).fingerprint() == before[0]
    assert open_source(path).label_fingerprint() != before[2]
    os.utime(place / "photos" / "a.png", (1, 1))
    assert open_source(path).fingerprint() != before[0]
    assert open_source(path).portable_fingerprint() == before[1]


def test_shards_of_the_parts_have_the_same_classes(place):
    listed(place / "a.csv", "file,label,split\nphotos/a.png,c,train\nphotos/d.png,a,train\nphotos/e.png,b,test\n")
    for split, kinds in {"train": {"a", "c"}, "test": {"b"}}.items():
        write_shards(open_source(f"{place}/a.csv", split=split), place / split)
        shards = open_source(f"{place}/{split}/*.tar")
        assert shards.classes == ["a", "b", "c"]
        assert {shards.classes[shards.label(index)] for index in range(len(shards))} == kinds
