"""Tables as pandas and others write them: which column holds images, which classes, and what is never guessed."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unic.data.sources import DamagedImageError, Source, huggingface, open_source
from unic.errors import InputError
from unic.eval.datasets.base import open_pair


def png(red: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def table(file: Path, features: dict[str, Any] | None = None, **columns: Any) -> str:
    """A Parquet file; without an `image` among its columns one is put first."""
    count = len(next(iter(columns.values())))
    rows = {} if "image" in columns else {"image": [png(number) for number in range(count)]}
    found = pa.table(rows | columns)
    if features:
        found = found.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(found, file)
    return str(file)


def labels(source: Source) -> list[int | None]:
    return [source.label(index) for index in range(len(source))]


@pytest.fixture(params=["memory", "map"])
def reader(request, tmp_path, monkeypatch) -> str:
    """Files are held in memory, or go through a memory map of `datasets`: both read the same."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    if request.param == "map":
        monkeypatch.setattr(huggingface, "IN_MEMORY", 0)
    return request.param


@pytest.mark.parametrize(
    ("train", "test", "classes", "numbers"),
    [
        ([3, 1], [1, 2], ["1", "2", "3"], ([2, 0], [0, 1])),
        ([10, 9], [9, 10], ["9", "10"], ([1, 0], [0, 1])),
        (["dog", "cat"], ["cow", "dog"], ["cat", "cow", "dog"], ([2, 0], [1, 2])),
        (pa.array(["b", "a"]).dictionary_encode(), ["a", "b"], ["a", "b"], ([1, 0], [0, 1])),
        ([True, False], [False, True], ["false", "true"], ([1, 0], [0, 1])),
        ([2.0, None], [float("nan"), 1.0], ["1", "2"], ([1, None], [None, 0])),
        ([1, -1], [0, None], ["0", "1"], ([1, None], [0, None])),
        (["caf\u00e9", ""], ["cafe\u0301", None], ["caf\u00e9"], ([0, None], [0, None])),
    ],
)
def test_labels_without_metadata_have_one_list_of_classes_for_all_parts(
    tmp_path, reader, train, test, classes, numbers
):
    table(tmp_path / "set" / "train.parquet", label=train)
    table(tmp_path / "set" / "test.parquet", label=test)
    for path in (f"{tmp_path}/set", f"{tmp_path}/set/*.parquet", f"{tmp_path}/set/{{split}}.parquet"):
        parts = [open_source(path, split=split) for split in ("train", "test")]
        assert [part.classes for part in parts] == [classes, classes]
        assert tuple(map(labels, parts)) == numbers


def test_a_class_column_of_another_name_is_asked_for_and_can_be_named(tmp_path, reader):
    path = table(tmp_path / "a.parquet", id=["x", "y"], species=["owl", "bat"], box=[[1, 2], [3, 4]])
    source = open_source(path)
    assert source.classes is None
    assert re.search(r"'label'.* id, species.*\?label=id$", source.why_unlabelled)
    named = open_source(f"{path}?label=species")
    assert (named.classes, labels(named)) == (["bat", "owl"], [1, 0])
    for option, message in {
        "label=specie": "'specie'.*'species'",
        "label=image": "column 'image'.*images",
        "label=box": "column 'box'.*list<.*: int64>",
        "image=id": "column 'id': 'x'.*image",
        "label=": "column.*image=.*label=",
    }.items():
        with pytest.raises(InputError, match=message) as error:
            open_source(f"{path}?{option}")
        assert "\n" not in str(error.value)


def test_an_evaluation_says_how_to_name_the_column_and_takes_it(tmp_path):
    for split in ("train", "test"):
        table(tmp_path / f"{split}.parquet", breed=["a", "b"])
    with pytest.raises(InputError, match="no labels.*'label'"):
        open_pair("x", str(tmp_path))
    assert open_pair("x", f"{tmp_path}?label=breed").classes == ["a", "b"]
    table(tmp_path / "all" / "all.parquet", breed=["a", "a", "b", "b"])
    parts = [open_source(f"{tmp_path}/all?label=breed&test=0.5", split=split) for split in ("train", "test")]
    assert [(len(part), part.classes) for part in parts] == [(2, ["a", "b"])] * 2


@pytest.fixture
def pictures(tmp_path) -> Path:
    (tmp_path / "set" / "images").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "set" / "images" / f"{number}.png").write_bytes(png(number))
    return tmp_path / "set"


def test_rows_that_hold_a_path(pictures, monkeypatch, reader):
    (pictures.parent / "elsewhere").mkdir()
    monkeypatch.chdir(pictures.parent)
    places = [f"{pictures}/images/0.png", "images/1.png", "set/images/2.png"]  # absolute, from the file, from here
    structs = [{"bytes": None, "path": place} for place in places]
    for name, column in {"text": places, "struct": structs}.items():
        path = table(pictures / f"{name}.parquet", image=column, label=["a", "b", "a"])
        source = open_source(path)
        assert [source.read(index).getpixel((0, 0))[0] for index in range(3)] == [0, 1, 2]
        assert labels(source) == [0, 1, 0]
        monkeypatch.chdir(pictures.parent / "elsewhere")  # where a worker process may be
        assert source.read(2).getpixel((0, 0))[0] == 2
        monkeypatch.chdir(pictures.parent)


def test_images_that_rows_name_are_part_of_the_fingerprint(pictures):
    path = table(pictures / "a.parquet", path=["images/0.png", "images/1.png"], image=[None, None])
    pq.write_table(pa.table({"path": ["images/0.png", "images/1.png"]}), path)
    before = open_source(path).fingerprint(), open_source(path).portable_fingerprint()
    os.utime(pictures / "images" / "1.png", (1, 1))
    assert open_source(path).fingerprint() != before[0]
    assert open_source(path).portable_fingerprint() == before[1]
    (pictures / "images" / "1.png").write_bytes(png() + bytes(100))
    assert open_source(path).portable_fingerprint() != before[1]


def test_rows_name_nothing_but_images(pictures, monkeypatch, reader):
    secret = pictures.parent / "secret.txt"
    secret.write_text("password")
    (pictures / "link.png").symlink_to(secret)
    (pictures / "good.png").symlink_to(pictures / "images" / "0.png")
    os.mkfifo(pictures / "pipe.png")
    (pictures / "folder.png").mkdir()
    places = ["images/0.png", "link.png", "pipe.png", "folder.png", str(secret), "no.png", "http://x/a.png", "good.png"]
    pq.write_table(pa.table({"path": places}), pictures / "a.parquet")
    source = open_source(f"{pictures}/a.parquet?image=path")
    reasons = []
    for index in range(len(places)):
        try:
            source.stored(index)
            reasons.append("")
        except DamagedImageError as error:
            reasons.append(str(error))
    assert reasons[0] == reasons[7] == ""
    for reason, words in zip(
        reasons[1:7], ["a link to", "not a file", "not a file", "does not name", "no such", "URL"], strict=True
    ):
        assert words in reason
    monkeypatch.setenv("UNIC_FOLLOW_LINKS", "1")
    assert Path(source.stored(1)).read_text() == "password"


def test_paths_that_all_lead_nowhere_are_one_line(pictures):
    pq.write_table(pa.table({"path": ["0.png", "1.png"]}), pictures / "a.parquet")
    with pytest.raises(InputError, match=f"column 'path': no such file: 0.png;.* {pictures} "):
        open_source(f"{pictures}/a.parquet")


def test_the_classes_of_a_set_of_the_hub_are_the_values_in_all_its_parts(tmp_path, monkeypatch):
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    parts = {"train": ["b", "a"], "test": ["c", "a"]}

    def load_dataset(name, config, *, split):
        rows = {"image": [{"bytes": png(), "path": None}] * 2, "label": parts[split]}
        return datasets.Dataset.from_dict(rows, features=features, split=split)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(huggingface, "on_the_hub", lambda name: set(parts))
    found = [open_source("org/name", split=split) for split in parts]
    assert [source.classes for source in found] == [["a", "b", "c"]] * 2
    assert [labels(source) for source in found] == [[1, 0], [2, 0]]


def test_streams_read_labels_by_their_values_where_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIC_CACHE", str(tmp_path / "cache"))
    for number, kinds in enumerate((["owl", "bat"], ["cow", None])):
        table(tmp_path / f"{number}.parquet", label=kinds)
    url = f"file://{tmp_path}/{{0..1}}.parquet"
    assert open_source(url).classes is None
    assert "?label=label" in open_source(url).why_unlabelled
    source = open_source(f"{url}?label=label")
    assert (source.classes, labels(source)) == (["bat", "cow", "owl"], [2, 0, 1, None])
    assert labels(open_source(url)) == [None] * 4


def test_test_images_of_classes_that_training_lacks_are_named(tmp_path, caplog):
    table(tmp_path / "train.parquet", label=["cat", "dog"])
    table(tmp_path / "test.parquet", label=["cat", "Dog"])
    assert open_pair("x", str(tmp_path)).classes == ["Dog", "cat", "dog"]
    assert "1 test images" in caplog.text
    assert "(Dog)" in caplog.text
    table(tmp_path / "train.parquet", label=["cat", ""])
    with pytest.raises(InputError, match="1 of 2 images.* train .*no label"):
        open_pair("x", str(tmp_path))


def test_masks_with_names_go_before_a_column_that_is_only_called_label(tmp_path, reader):
    stream = io.BytesIO()
    Image.new("L", (4, 4), 1).save(stream, "PNG")
    struct = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images, masks = (pa.array([{"bytes": data, "path": None}], struct) for data in (png(), stream.getvalue()))
    features = {"image": {"_type": "Image"}, "mask": {"_type": "Image"}}
    path = table(tmp_path / "a.parquet", features, image=images, mask=masks, label=[7])
    (tmp_path / "classes.json").write_text('["ground", "sky"]')
    source = open_source(path)
    assert (source.pixels, source.classes, source.label(0)) == ("masks", ["ground", "sky"], None)
    named = open_source(f"{path}?label=label")
    assert (named.pixels, named.classes, named.label(0)) == (None, ["7"], 0)


def test_a_damaged_column_of_labels_is_an_error(tmp_path):
    path = table(tmp_path / "a.parquet", label=["word"] * 1000)
    place = pq.read_metadata(path).row_group(0).column(1)
    with open(path, "r+b") as stream:
        stream.seek(place.dictionary_page_offset)
        stream.write(b"\xff" * place.total_compressed_size)
    with pytest.raises(InputError, match=r"a\.parquet is damaged"):
        open_source(path)
