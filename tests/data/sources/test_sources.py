"""`open_source`: folders, Parquet, hub names, splits, limits and the one line when there is nothing."""

import io
import json
import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unic.data.sources import DamagedImageError, huggingface, open_source
from unic.errors import InputError


def save(file: Path, colour: str = "red", size: tuple[int, int] = (8, 8)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(file)


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(file: Path, images: list, labels: list[int] | None = None, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    """A file as `datasets` writes it."""
    features: dict = {"picture": {"_type": "Image"}}
    columns: dict = {"picture": [{"bytes": data, "path": None} for data in images]}
    if labels is not None:
        features["kind"] = {"names": list(names), "_type": "ClassLabel"}
        columns["kind"] = labels
    kinds = {"picture": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "kind": pa.int64()}
    schema = pa.schema(
        [(name, kinds[name]) for name in columns], {"huggingface": json.dumps({"info": {"features": features}})}
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, schema=schema), file)
    return file


def names(source) -> list[str]:
    return [source.name(index) for index in range(len(source))]


def test_class_folders(tmp_path: Path):
    save(tmp_path / "dog" / "b.PNG")
    save(tmp_path / "cat" / "deep" / "a.jpg", "blue")
    save(tmp_path / "cat" / "z.webp")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    save(tmp_path / "cat" / "._z.png")
    source = open_source(str(tmp_path))
    assert names(source) == ["cat/deep/a.jpg", "cat/z.webp", "dog/b.PNG"]
    assert source.classes == ["cat", "dog"]
    assert [source.label(index) for index in range(3)] == [0, 0, 1]
    assert source.read(0).getpixel((0, 0))[2] > 200
    assert names(pickle.loads(pickle.dumps(source))) == names(source)


def test_loose_images_are_unlabelled(tmp_path: Path):
    save(tmp_path / "dog" / "b.png")
    save(tmp_path / "ä 日.png")
    source = open_source(str(tmp_path))
    assert source.classes is None
    assert source.label(0) is None
    assert names(source) == ["dog/b.png", "ä 日.png"]


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path):
    save(tmp_path / "secret" / "private.png")
    save(tmp_path / "data" / "a.png")
    (tmp_path / "data" / "file.png").symlink_to(tmp_path / "secret" / "private.png")
    (tmp_path / "data" / "folder").symlink_to(tmp_path / "secret")
    (tmp_path / "data" / "inside.png").symlink_to(tmp_path / "data" / "a.png")
    assert names(open_source(str(tmp_path / "data"))) == ["a.png", "inside.png"]


def test_folder_fingerprint(tmp_path: Path):
    save(tmp_path / "a.png")
    before = open_source(str(tmp_path)).fingerprint()
    assert open_source(str(tmp_path)).fingerprint() == before
    os.utime(tmp_path / "a.png", (1, 1))
    assert open_source(str(tmp_path)).fingerprint() != before


def test_folder_splits(tmp_path: Path):
    save(tmp_path / "train" / "cat" / "a.png")
    save(tmp_path / "test" / "cat" / "b.png")
    assert names(open_source(str(tmp_path))) == ["cat/a.png"]
    assert names(open_source(str(tmp_path), split="test")) == ["cat/b.png"]
    with pytest.raises(InputError, match="'tests'.*'test'"):
        open_source(str(tmp_path), split="tests")
    with pytest.raises(InputError, match="no split 'test'"):
        open_source(str(tmp_path / "train"), split="test")


def test_parquet(tmp_path: Path):
    file = parquet(tmp_path / "a.parquet", [png(), b"broken", None], [1, 0, -1])
    source = open_source(str(file))
    assert source.classes == ["cat", "dog"]
    assert [source.label(index) for index in range(3)] == [1, 0, None]
    assert source.read(0).getpixel((0, 0)) == (255, 0, 0)
    assert source.name(1) == "a.parquet[1]"
    with pytest.raises(DamagedImageError, match="known format"):
        source.read(1)
    with pytest.raises(DamagedImageError, match="no image bytes"):
        source.read(2)
    packed = pickle.dumps(source)
    assert len(packed) < 2000
    assert pickle.loads(packed).read(0).size == (8, 8)
    before = source.fingerprint()
    assert open_source(str(parquet(file, [png("blue")], [1]))).fingerprint() != before


def test_parquet_shards_and_splits(tmp_path: Path):
    for split, part in (("train", 0), ("train", 1), ("test", 0)):
        parquet(tmp_path / "data" / f"{split}-0000{part}-of-00002.parquet", [png()] * 2, [0, 1])
    source = open_source(str(tmp_path))
    assert names(source) == [f"train-0000{part}-of-00002.parquet[{row}]" for part in (0, 1) for row in (0, 1)]
    assert [source.label(index) for index in range(4)] == [0, 1, 0, 1]
    assert len(open_source(str(tmp_path), split="test")) == 2
    assert len(open_source(f"{tmp_path}/**/*.parquet")) == 6
    with pytest.raises(InputError, match="'tes'.*'test'"):
        open_source(str(tmp_path), split="tes")
    parquet(tmp_path / "data" / "train-00002-of-00002.parquet", [png()], [0], names=("cow", "dog"))
    with pytest.raises(InputError, match="columns or classes"):
        open_source(str(tmp_path))


def test_parquet_without_features_or_images(tmp_path: Path):
    pq.write_table(pa.table({"image": [png()], "n": [1]}), tmp_path / "plain.parquet")
    assert open_source(str(tmp_path / "plain.parquet")).read(0).size == (8, 8)
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), tmp_path / "text.parquet")
    with pytest.raises(InputError, match="no image column.*text, n"):
        open_source(str(tmp_path / "text.parquet"))
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a Parquet file"):
        open_source(str(tmp_path / "bad.parquet"))


def test_limit_is_one_fixed_subset(tmp_path: Path):
    file = parquet(tmp_path / "a.parquet", [png()] * 50, [index % 2 for index in range(50)])
    ten, twenty, whole = (open_source(str(file), limit=limit) for limit in (10, 20, 99))
    assert names(ten) == names(open_source(str(file), limit=10))
    assert set(names(ten)) < set(names(twenty))
    assert len(whole) == 50
    assert len({ten.fingerprint(), twenty.fingerprint(), whole.fingerprint()}) == 3
    row = int(ten.name(3)[len("a.parquet[") : -1])
    assert ten.label(3) == row % 2


def test_missing(tmp_path: Path, monkeypatch):
    save(tmp_path / "pictures" / "a.png")
    with pytest.raises(InputError, match="no such file.*'pictures'"):
        open_source(str(tmp_path / "picturs" / "cats"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_source("pictures/cats")  # shaped like a hub name, but the folder is here
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        open_source(str(tmp_path / "empty"))
    with pytest.raises(InputError, match=r"no file matches .*parquet"):
        open_source(str(tmp_path / "*.parquet"))


def test_hub(tmp_path: Path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"img": [{"bytes": png(), "path": None}, {"bytes": b"?", "path": None}], "label": [1, 0]}
    asked = []

    def load_dataset(name, config, *, split):
        asked.append((name, config, split))
        if name == "org/none":
            raise ConnectionError("no network\nat all")
        return datasets.Dataset.from_dict(rows, features=features)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = open_source("org/name:small", split="test")
    assert asked == [("org/name", "small", "test")]
    assert (len(source), source.classes, source.label(0)) == (2, ["a", "b"], 1)
    assert source.read(0).size == (8, 8)
    with pytest.raises(DamagedImageError):
        source.read(1)
    with pytest.raises(InputError, match=r"Hugging Face hub.*\(no network at all\)$"):
        open_source("org/none")


def test_large_files_go_through_a_memory_map(tmp_path: Path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(huggingface, "IN_MEMORY", 0)
    source = open_source(str(parquet(tmp_path / "a.parquet", [png()] * 3, [0, 1, 1])))
    assert isinstance(source, huggingface.HuggingFace)
    assert [source.label(index) for index in range(3)] == [0, 1, 1]
    assert pickle.loads(pickle.dumps(source)).read(2).size == (8, 8)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "expected the path"),
        ("?test=0.2", "expected the path"),
        ("a\0*", "expected the path"),
        ("a\nb", "no such file"),
        ("~nobody-here/x", "no such file"),
        ("x" * 300, "no such file"),
        ("a-{0..999999999}.tar", "1,000,000 names"),
        ("a-{0..9999}-{0..9999}.tar", "1,000,000 names"),
    ],
)
def test_impossible_paths_are_one_line(path: str, message: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "an_image_that_nobody_named.png")
    with pytest.raises(InputError) as error:
        open_source(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_class_whose_name_is_stored_in_two_ways_is_one(tmp_path: Path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"  # NFC, and NFD as macOS writes it
    save(tmp_path / "set" / "train" / composed / "a.png")
    save(tmp_path / "set" / "train" / decomposed / "b.png")
    save(tmp_path / "set" / "test" / decomposed / "c.png")
    train, test = (open_source(str(tmp_path / "set"), split=split) for split in ("train", "test"))
    assert train.classes == test.classes == [composed]
    assert [train.label(index) for index in range(2)] == [0, 0]
    assert names(train) == [f"{decomposed}/b.png", f"{composed}/a.png"]  # files keep their names
