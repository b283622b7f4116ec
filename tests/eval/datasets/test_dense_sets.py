"""Sets with masks or depths, in folders of exactly their layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unic.errors import InputError
from unic.eval.datasets import ade20k, nyud, resolve, voc
from unic.eval.subject import Subject
from unic.eval.tasks import depth, segmentation

SIZE = (48, 64)


def save(file: Path, values: np.ndarray, palette: bool = False) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image.putpalette(list(range(256)) * 3)
        assert image.mode == "P"
    image.save(file)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture
def ade(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(ade20k, "COUNTS", (3, 2, 150))
    folder = tmp_path / "ade20k" / "ADEChallengeData2016"
    for part, short, count in (("training", "train", 3), ("validation", "val", 2)):
        for number in range(1, count + 1):
            name = f"ADE_{short}_{number:08d}"
            save(folder / "images" / part / f"{name}.jpg", picture(number))
            save(folder / "annotations" / part / f"{name}.png", np.resize(np.uint8([0, 1, 150]), SIZE))
    return folder


def test_ade20k(ade, tmp_path):
    pair = resolve("ade20k", root=tmp_path)
    assert (pair.kind, pair.classes[0], pair.classes[149]) == ("masks", "1", "150")
    assert pair.test.target(1)[0, :3].tolist() == [255, 0, 149], "0 is not asked about, classes start at 1"
    lines = ["Idx\tRatio\tTrain\tVal\tStuff\tName", *(f"{n}\t0.1\t1\t1\t0\tthing {n}, kind" for n in range(1, 151))]
    (ade / "objectInfo150.txt").write_text("\n".join(lines) + "\n")
    named = resolve("ade20k", root=tmp_path)
    assert named.classes[:2] == ["thing 1, kind", "thing 2, kind"]
    assert named.train.fingerprint() != pair.train.fingerprint()


def test_ade20k_that_is_not_whole(ade, tmp_path, monkeypatch):
    (ade / "annotations" / "training" / "ADE_train_00000002.png").unlink()
    with pytest.raises(InputError, match=r"annotations/training/ADE_train_00000002\.png"):
        resolve("ade20k", root=tmp_path)
    monkeypatch.setattr(ade20k, "COUNTS", (20210, 2000, 150))
    save(ade / "annotations" / "training" / "ADE_train_00000002.png", np.zeros(SIZE, np.uint8))
    with pytest.raises(InputError, match="20210 .*2000 .*150 .* 3, 2 and"):
        resolve("ade20k", root=tmp_path)


def test_voc(tmp_path, monkeypatch):
    monkeypatch.setattr(voc, "COUNTS", (2, 1, 21))
    folder = tmp_path / "voc" / "VOCdevkit" / "VOC2012"
    lists = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}
    for part, names in lists.items():
        (folder / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            save(folder / "JPEGImages" / f"{name}.jpg", picture(0))
            save(folder / "SegmentationClass" / f"{name}.png", np.resize(np.uint8([0, 20, 255]), SIZE), palette=True)
    save(folder / "JPEGImages" / "2007_000027.jpg", picture(0))  # most images have no mask
    pair = resolve("voc", root=tmp_path)
    assert pair.train.name(1) == "VOCdevkit/VOC2012/JPEGImages/2007_000039.jpg"
    assert pair.train.target(1)[0, :3].tolist() == [0, 20, 255]
    assert pair.classes[20] == "tvmonitor"
    assert voc.COUNTS[2] == len(voc.CLASSES)


def test_nyud(tmp_path, monkeypatch):
    monkeypatch.setattr(nyud, "COUNTS", (2, 1, 0))
    folder = tmp_path / "nyud" / "official_splits"
    for part, name in (("train", "kitchen/{}_00001"), ("train", "office/{}_00005"), ("test", "office/{}_00000")):
        save(folder / part / f"{name.format('rgb')}.jpg", picture(0))
        save(folder / part / f"{name.format('sync_depth')}.png", np.full(SIZE, 2500, np.uint16))
    pair = resolve("nyud", root=tmp_path)
    assert (pair.kind, pair.classes) == ("depth", [])
    assert pair.train.name(1) == "train/office/rgb_00005.jpg"
    target = pair.test.target(0)
    assert target.dtype == np.float32
    assert set(np.unique(target)) == {0, 2.5}
    (folder / "train" / "office" / "sync_depth_00005.png").unlink()
    with pytest.raises(InputError, match=r"train/office/sync_depth_00005\.png"):
        resolve("nyud", root=tmp_path)


def test_the_crop_of_nyud():
    cropped = nyud.eigen_crop(np.ones((480, 640), np.float32))
    inside = np.argwhere(cropped)
    assert inside.min(0).tolist() == [45, 41]
    assert inside.max(0).tolist() == [470, 600]
    assert cropped.sum() == (471 - 45) * (601 - 41)


def test_scenes_are_verified():
    pair = resolve("scenes")
    assert (pair.kind, len(pair.train), len(pair.test), pair.classes[0]) == ("masks", 900, 300, "background")
    assert pair.train.target(0).shape == (128, 128)


def test_your_own_folder_is_measured_without_code(tmp_path, colours):
    """Bright halves are class 1, or far away; the encoder of the tests sees the mean colours of quarters."""
    rng = np.random.default_rng(0)
    for kind in ("masks", "depth"):
        for part, count in (("train", 24), ("test", 8)):
            for number in range(count):
                quarters = rng.integers(0, 2, (2, 2), dtype=np.uint8)
                mask = quarters.repeat(8, 0).repeat(8, 1)
                image = np.stack([255 * mask] * 3, axis=2)
                image[0, 0] = (number, part == "test", 0)  # no image is in both parts
                save(tmp_path / kind / part / "images" / f"{number}.png", image)
                target = mask if kind == "masks" else (2000 + 3000 * mask.astype(np.uint16))
                save(tmp_path / kind / part / kind / f"{number}.png", target)
        (tmp_path / kind / "train" / kind / "3.png").write_bytes(b"damaged")
    subject = Subject("colours", "other", resolve(f"mine={tmp_path / 'masks'}"), colours)
    parts = [subject.dense("train"), subject.dense("test")]
    assert (len(parts[0]), parts[0].classes) == (23, ["0", "1"])
    assert segmentation.run(*parts, steps=300, lr=1e-2).score > 95
    subject = Subject("colours", "other", resolve(f"mine={tmp_path / 'depth'}"), colours)
    parts = [subject.dense("train"), subject.dense("test")]
    assert len(parts[0]) == 23
    assert depth.run(*parts, steps=300, lr=1e-2, num_bins=32).details["delta1"] > 75  # resizing blurs the borders
