"""Images with masks or depths: layouts of folders, Parquet, and what is wrong with them."""

import io
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unic.data.sources import DamagedImageError, dense, huggingface, open_source
from unic.errors import InputError

MASK = np.array([[0, 1, 1], [2, 255, 0]], np.uint8)
SHAPE = MASK.shape


def save(file: Path, values: np.ndarray | None = None, mode: str | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", SHAPE[::-1], "red") if values is None else Image.fromarray(values)
    if mode == "P":
        image = image.convert("L")
        image.putpalette([7, 8, 9] * 256)
    image.convert(mode or image.mode).save(file)
    return file


def folder(place: Path, layout: str, names: str = "ab", kind: str = "masks", **options) -> Path:
    """`layout` has `{}` where `images` or the name of the targets stands."""
    for name in names:
        save(place / layout.format("images") / f"{name}.jpg")
        save(place / layout.format(kind) / f"{name}.png", options.get("values", MASK), options.get("mode"))
    return place


def reason(source, index: int) -> str:
    with pytest.raises(DamagedImageError) as error:
        source.read(index)
    return str(error.value)


@pytest.mark.parametrize("layout", ["train/{}", "{}/train", "{}", "{}/train/deep"])
@pytest.mark.parametrize("kind", ["masks", "annotations"])
def test_layouts_of_masks(tmp_path, layout, kind):
    source = open_source(str(folder(tmp_path, layout, kind=kind)))
    images = layout.format("images")
    assert [source.name(index) for index in range(len(source))] == [f"{images}/a.jpg", f"{images}/b.jpg"]
    assert (source.pixels, source.classes, source.label(0)) == ("masks", ["0", "1", "2"], None)
    assert source.target(1).dtype == np.uint8
    assert np.array_equal(source.target(1), MASK)
    assert source.read(0).size == SHAPE[::-1]
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(again.target(0), MASK)
    assert np.array_equal(open_source(str(tmp_path), limit=1).target(0), MASK)


def test_the_test_part(tmp_path):
    for layout in ("train/{}", "val/{}"):
        folder(tmp_path / "around", layout)
    for layout in ("{}/train", "{}/val"):
        folder(tmp_path / "inside", layout)
    folder(tmp_path / "one", "{}")
    for place in ("around", "inside"):
        assert len(open_source(str(tmp_path / place), split="val")) == 2
        with pytest.raises(InputError, match="no split 'test'"):
            open_source(str(tmp_path / place), split="test")
    with pytest.raises(InputError, match="no split 'test'"):
        open_source(str(tmp_path / "one"), split="test")


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_modes_of_masks(tmp_path, mode):
    source = open_source(str(folder(tmp_path, "{}", mode=mode)))
    assert np.array_equal(source.target(0), MASK)


def test_names_of_classes(tmp_path):
    folder(tmp_path, "train/{}")
    (tmp_path / "classes.txt").write_text("sky\nsea\nland\n\n")
    by_line = open_source(str(tmp_path))
    assert by_line.classes == ["sky", "sea", "land"]
    (tmp_path / "train" / "classes.json").write_text('["0", "1"]')
    assert open_source(str(tmp_path)).classes == by_line.classes, "the outer file comes first"
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(InputError, match=r"train/images/a.jpg: its mask.* class 2;.* 0 to 1"):
        open_source(str(tmp_path))
    for wrong in ("[", '{"0": "a"}', '["a", "a"]', '["a"]'):
        (tmp_path / "classes.json").write_text(wrong)
        with pytest.raises(InputError, match="classes.json"):
            open_source(str(tmp_path))


def test_classes_are_counted_in_small_sets_only(tmp_path, monkeypatch):
    folder(tmp_path, "{}", "abc")
    monkeypatch.setattr(dense, "_COUNTED", 2)
    with pytest.raises(InputError, match=r"classes\.txt.*classes\.json"):
        open_source(str(tmp_path))
    folder(tmp_path / "binary", "{}", values=np.where(MASK > 0, 255, 0).astype(np.uint8))
    with pytest.raises(InputError, match=r"a single class \(255 means"):
        open_source(str(tmp_path / "binary"))


def test_what_does_not_fit_is_refused_when_opened(tmp_path):
    folder(tmp_path, "{}")
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(InputError, match=r"masks/b\.png"):
        open_source(str(tmp_path))
    save(tmp_path / "masks" / "b.png", MASK.T.copy())
    with pytest.raises(InputError, match=r"images/b\.jpg: .*2 × 3.*3 × 2"):
        open_source(str(tmp_path))
    save(tmp_path / "masks" / "b.png", np.stack([MASK, MASK + 1, MASK], axis=2))
    with pytest.raises(InputError, match=r"images/b\.jpg: its mask.*colours"):
        open_source(str(tmp_path))


def test_a_damaged_target_is_a_damaged_image(tmp_path):
    folder(tmp_path, "{}", "abc")
    (tmp_path / "masks" / "a.png").write_bytes(b"nothing")
    data = (tmp_path / "masks" / "b.png").read_bytes()
    (tmp_path / "masks" / "b.png").write_bytes(data[: len(data) // 2])
    source = open_source(str(tmp_path))
    assert reason(source, 0).startswith("its target: ")
    assert reason(source, 1).startswith("its target: ")
    assert source.read(2).size == SHAPE[::-1]
    save(tmp_path / "masks" / "c.png", MASK + 1)
    assert re.search("its mask .*class 3;.* 0 to 2", reason(source, 2))


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    secret = save(tmp_path / "secret" / "a.png", MASK)
    place = folder(tmp_path / "data", "{}")
    (place / "images" / "c.png").symlink_to(secret)
    assert len(open_source(str(place))) == 2
    (place / "masks" / "a.png").unlink()
    (place / "masks" / "a.png").symlink_to(secret)
    with pytest.raises(InputError, match=r"masks/a\.png.*links"):
        open_source(str(place))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "masks").symlink_to(tmp_path / "secret")
    save(tmp_path / "linked" / "images" / "a.jpg")
    with pytest.raises(InputError, match="masks.*out of the folder"):
        open_source(str(tmp_path / "linked"))
    with pytest.raises(InputError, match="outside"):
        dense.PixelPairs("x", place, [("images/a.jpg", "../secret/a.png")], "masks")


def test_links_are_followed_where_the_user_says_so(tmp_path, monkeypatch):
    """A folder that is a link, and a file that is one."""
    monkeypatch.setenv("UNIC_FOLLOW_LINKS", "1")
    elsewhere = folder(tmp_path / "elsewhere", "{}")
    linked = tmp_path / "linked"
    save(linked / "images" / "a.jpg")
    (linked / "images" / "b.jpg").symlink_to(elsewhere / "images" / "b.jpg")
    (linked / "masks").symlink_to(elsewhere / "masks")
    source = open_source(str(linked))
    assert [source.name(index) for index in range(len(source))] == ["images/a.jpg", "images/b.jpg"]
    assert (source.target(1) == MASK).all()


def test_depth_in_millimetres_or_metres(tmp_path):
    millimetres = np.array([[0, 1500, 65535], [1, 2, 3]], np.uint16)
    folder(tmp_path, "{}", kind="depth", values=millimetres)
    metres = np.array([[0.5, np.nan, -1], [np.inf, 2, 0]], np.float64)
    (tmp_path / "depth" / "b.png").unlink()
    np.save(tmp_path / "depth" / "b.npy", metres)
    source = open_source(str(tmp_path))
    assert (source.pixels, source.classes) == ("depth", None)
    assert source.target(0).dtype == source.target(1).dtype == np.float32
    assert np.allclose(source.target(0), millimetres / 1000)
    assert source.target(1).tolist() == [[0.5, 0, 0], [0, 2, 0]]
    (tmp_path / "depth_scale.txt").write_text("256\n")
    finer = open_source(str(tmp_path))
    assert finer.target(0)[0, 2] == pytest.approx(65535 / 256)
    assert finer.fingerprint() != source.fingerprint()
    for wrong in ("0", "inf", "metres"):
        (tmp_path / "depth_scale.txt").write_text(wrong)
        with pytest.raises(InputError, match="expected a positive number"):
            open_source(str(tmp_path))


@pytest.mark.parametrize(
    "values", [np.zeros((2, 3), np.int32), np.zeros((2, 3, 1)), np.array([[{}]], object)], ids=["int", "3-d", "object"]
)
def test_what_is_no_depth(tmp_path, values):
    folder(tmp_path, "{}", "ab", kind="depth", values=MASK.astype(np.uint16))
    (tmp_path / "depth" / "b.png").unlink()
    np.save(tmp_path / "depth" / "b.npy", values)
    if values.dtype == object:  # a pickle, which is never opened
        assert reason(open_source(str(tmp_path)), 1).startswith("its depth: ")
    else:
        with pytest.raises(InputError, match="its depth.*array"):
            open_source(str(tmp_path))
    folder(tmp_path / "grey", "{}", kind="depth", values=MASK)
    with pytest.raises(InputError, match="8 bits"):
        open_source(str(tmp_path / "grey"))


def test_the_fingerprint_follows_targets_and_names(tmp_path):
    folder(tmp_path, "{}")
    found = [open_source(str(tmp_path)).fingerprint()]
    assert open_source(str(tmp_path)).fingerprint() == found[0]
    save(tmp_path / "masks" / "a.png", np.flipud(MASK).copy())
    found.append(open_source(str(tmp_path)).fingerprint())
    (tmp_path / "classes.txt").write_text("sky\nsea\nland\n")
    found.append(open_source(str(tmp_path)).fingerprint())
    assert len(set(found)) == 3


def png(values: np.ndarray | None = None) -> bytes:
    buffer = io.BytesIO()
    (Image.new("RGB", SHAPE[::-1]) if values is None else Image.fromarray(values)).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(file: Path, masks: list, *, labels: bool = False) -> Path:
    struct = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    features: dict = {"mask": {"_type": "Image"}, "image": {"_type": "Image"}}
    columns: dict = {"mask": [{"bytes": mask, "path": None} for mask in masks]}
    columns["image"] = [{"bytes": png(), "path": None} for _ in masks]
    fields = [("mask", struct), ("image", struct)]
    if labels:
        features["label"] = {"names": ["cat", "dog"], "_type": "ClassLabel"}
        columns["label"] = [0] * len(masks)
        fields.append(("label", pa.int64()))
    schema = pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(pa.table(columns, schema=schema), file)
    return file


@pytest.mark.parametrize("in_memory", [True, False])
def test_masks_in_parquet(tmp_path, monkeypatch, in_memory):
    if not in_memory:
        pytest.importorskip("datasets")
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
        monkeypatch.setattr(huggingface, "IN_MEMORY", 0)
    file = parquet(tmp_path / "train.parquet", [png(MASK), b"?", None, png(MASK.T.copy()), png(MASK + 1)])
    without_names = open_source(str(file))
    assert (without_names.pixels, without_names.classes, without_names.target(0)) == (None, None, None)
    assert without_names.read(1).size == SHAPE[::-1]
    (tmp_path / "classes.json").write_text('["sky", "sea", "land"]')
    source = open_source(str(file))
    assert (source.pixels, source.classes, source.label(0)) == ("masks", ["sky", "sea", "land"], None)
    assert np.array_equal(source.target(0), MASK)
    assert source.read(0).size == SHAPE[::-1]
    assert reason(source, 1).startswith("its target: ")
    assert "row" in reason(source, 2)
    assert re.search("its target .*2 × 3.*3 × 2", reason(source, 3))
    assert re.search("its mask .*class 3;.* 0 to 2", reason(source, 4))
    assert np.array_equal(pickle.loads(pickle.dumps(source)).target(0), MASK)
    before = source.fingerprint()
    (tmp_path / "classes.json").write_text('["land", "sea", "sky"]')
    assert open_source(str(file)).fingerprint() != before


def test_labels_come_before_masks(tmp_path):
    (tmp_path / "classes.json").write_text('["sky", "sea", "land"]')
    source = open_source(str(parquet(tmp_path / "train.parquet", [png(MASK)], labels=True)))
    assert (source.pixels, source.classes, source.label(0), source.target(0)) == (None, ["cat", "dog"], 0, None)
