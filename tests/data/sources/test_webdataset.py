import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from unic.data.sources import open_source
from unic.data.sources.base import DamagedImageError
from unic.data.sources.webdataset import WebDataset
from unic.errors import InputError


def png(value):
    stream = io.BytesIO()
    Image.new("RGB", (6, 4), (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def shard(path, members, mode="w:"):
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def shards(tmp_path):
    first = [
        ("a/1.cls", b"2"),
        ("a/1.png", png(10)),
        ("a/2.png", png(20)),
        ("a/2.json", json.dumps({"label": 0}).encode()),
    ]
    second = [("3.seg.png", png(30)), ("3.cls", b"1\n"), ("3.txt", b"a caption")]
    return [shard(tmp_path / "0.tar", first), shard(tmp_path / "1.tar", second)]


def test_samples_are_found_by_name_and_read_by_place(shards):
    source = pickle.loads(pickle.dumps(WebDataset("x", shards)))
    assert len(source) == 3
    assert [np.asarray(source.read(index))[0, 0, 0] for index in (2, 0, 1)] == [30, 10, 20]
    assert [source.label(index) for index in range(3)] == [2, 0, 1]
    assert source.classes == ["0", "1", "2"]
    assert [source.name(index) for index in range(3)] == ["0.tar/a/1.png", "0.tar/a/2.png", "1.tar/3.seg.png"]


def test_class_names_stand_beside_the_shards(shards, tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\nowl\n")
    assert WebDataset("x", shards).classes == ["cat", "dog", "owl"]
    (tmp_path / "classes.json").write_text('["cat", "dog"]')
    with pytest.raises(InputError, match="3 classes.*2 names"):
        WebDataset("x", shards)


def test_a_sample_without_a_label_makes_the_set_unlabelled(tmp_path):
    source = WebDataset("x", [shard(tmp_path / "0.tar", [("1.png", png(1)), ("2.png", png(2)), ("2.cls", b"0")])])
    assert (len(source), source.classes, source.label(1)) == (2, None, None)


def test_fingerprint_follows_the_content(shards, tmp_path):
    before = WebDataset("x", shards).fingerprint()
    assert WebDataset("y", shards).fingerprint() == before
    shard(tmp_path / "1.tar", [("3.png", png(31)), ("3.cls", b"1")])
    assert WebDataset("x", shards).fingerprint() != before


def test_damaged_shards_and_images(tmp_path):
    cut = shard(tmp_path / "cut.tar", [("1.png", b"no image"), ("1.cls", b"0")])
    with pytest.raises(DamagedImageError):
        WebDataset("x", [cut]).read(0)
    packed = shard(tmp_path / "0.tar.gz", [("1.png", png(1))], "w:gz")
    for file in (packed, tmp_path / "text.tar"):
        if not file.exists():
            file.write_text("hello " * 500)
        with pytest.raises(InputError, match="tar archive"):
            WebDataset("x", [file])
    with pytest.raises(InputError, match="no images.* 1 shards"):
        WebDataset("x", [shard(tmp_path / "none.tar", [("a.txt", b"x")])])


def test_shards_open_by_folder_pattern_and_split(tmp_path):
    for split, count in (("train", 3), ("test", 1)):
        for number in range(count):
            shard(tmp_path / f"{split}-{number:03d}.tar", [("1.png", png(number)), ("1.cls", b"0")])
    assert len(open_source(str(tmp_path))) == 3
    assert len(open_source(str(tmp_path), split="test")) == 1
    assert len(open_source(f"{tmp_path}/train-{{001..002}}.tar")) == 2
    assert len(open_source(f"{tmp_path}/{{split}}-*.tar", split="test")) == 1
    with pytest.raises(InputError, match=r"no file matches .*train-003\.tar"):
        open_source(f"{tmp_path}/train-{{001..003}}.tar")


def test_words_for_classes_are_said_to_be_no_numbers(tmp_path):
    members = [("0.png", png(1)), ("0.cls", b"cat"), ("1.png", png(2)), ("1.cls", b"1")]
    source = open_source(str(shard(tmp_path / "a.tar", members)))
    assert source.classes is None
    assert source.why_unlabelled.startswith("1 of its 2 samples ")
