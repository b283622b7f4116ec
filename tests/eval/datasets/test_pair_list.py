"""Lists of images and depths, as NYUd's frames have them, and what one wrong line says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unic.errors import InputError
from unic.eval.datasets import nyud_frames, resolve

SIZE = (48, 64)
LINE = "/{scene}/rgb_{number:05d}.jpg /{scene}/sync_depth_{number:05d}.png 518.8579"


def write(folder: Path, scene: str, number: int, depth: np.ndarray | None = None) -> str:
    """Files of one pair; returns its line."""
    (folder / scene).mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / scene / f"rgb_{number:05d}.jpg")
    depth = np.full(SIZE, 2500, np.uint16) if depth is None else depth
    Image.fromarray(depth).save(folder / scene / f"sync_depth_{number:05d}.png")
    return LINE.format(scene=scene, number=number)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(nyud_frames, "COUNTS", (3, 2, 0))
    folder = tmp_path / "nyud_frames"
    lines = [write(folder, "kitchen_0028b", number) for number in (1, 45)]
    no_depth = f"{lines[0].split()[0]} None 518.8579"
    far = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE)
    lines += ["", no_depth, write(folder, "office_0001", 7, far)[1:]]  # the leading slash may be missing
    (folder / "nyu_train.txt").write_text("\n".join(lines) + "\n")
    tests = [write(folder, "test/office", number) for number in (100, 101)]
    (folder / "nyu_test.txt").write_text("\r\n".join(tests))
    return folder


def test_pairs_of_a_list(folder: Path, tmp_path: Path) -> None:
    pair = resolve("nyud_frames", root=tmp_path)
    assert (pair.kind, pair.classes, len(pair.train), len(pair.test)) == ("depth", [], 3, 2)
    assert pair.train.name(2) == "nyu_train.txt, line 5: office_0001/rgb_00007.jpg"
    millimetres = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE)
    top, bottom, left, right = round(4.5), round(47.2), round(4.3), round(60.8)
    np.testing.assert_allclose(pair.train.target(2), millimetres[top:bottom, left:right] / 1000, rtol=1e-6)
    assert pair.train.read(2).size == (right - left, bottom - top), "the border of a frame is cut off"
    assert pair.test.read(0).size == (64, 48)
    target = pair.test.target(0)
    inside = np.argwhere(target)
    assert inside.min(0).tolist() == [round(4.5), round(4.1)]
    assert inside.max(0).tolist() == [round(47.1) - 1, round(60.1) - 1]
    assert pair.train.fingerprint() != nyud_frames.PairList("x", folder / "nyu_train.txt").fingerprint()


def test_the_border_of_frames() -> None:
    assert nyud_frames.without_border(480, 640) == (45, 472, 43, 608)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: [*lines[:1], "kitchen_0028b/rgb_00045.jpg"], r"nyu_train\.txt, line 2: expected 'IMAGE DEPTH"),
        (lambda lines: [*lines[:1], f"{lines[1]} 2"], "line 2: expected"),
        (lambda lines: [lines[0].replace("518.8579", "wide")], "line 1: expected .* not '/kitchen"),
        (lambda lines: [lines[0].replace("518.8579", "nan")], "line 1: expected"),
        (lambda lines: [*lines, lines[0].replace("rgb_00001", "rgb_00002")], r"line 6: no file .*/rgb_00002\.jpg"),
        (lambda lines: [lines[1].replace("depth_00045", "depth_00046")], r"line 1: no file .*/sync_depth_00046\.png"),
        (lambda lines: [lines[1].replace("sync_depth_00045.png", "rgb_00045.jpg")], "line 1: expected a depth"),
        (lambda lines: [""], "no images in its list"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(folder: Path, tmp_path: Path, change, says: str) -> None:
    file = folder / "nyu_train.txt"
    file.write_text("\n".join(change(file.read_text().splitlines())))
    with pytest.raises(InputError, match=says) as caught:
        resolve("nyud_frames", root=tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("depth", "says"),
    [
        (np.zeros(SIZE, np.uint8), "line 2: kitchen_0028b/rgb_00045.jpg: its depth has colours or 8 bits"),
        (np.zeros((*SIZE, 3), np.uint8), "its depth has colours or 8 bits"),
        (np.zeros((48, 60), np.uint16), "line 2: .*its target has 60 × 48 pixels, the image 64 × 48"),
    ],
)
def test_a_depth_of_another_kind_is_named(folder: Path, tmp_path: Path, depth: np.ndarray, says: str) -> None:
    write(folder, "kitchen_0028b", 45, depth)
    with pytest.raises(InputError, match=f"nyu_train.txt, {says}" if says.startswith("line") else says):
        resolve("nyud_frames", root=tmp_path)


def test_a_missing_list_says_what_belongs_where(folder: Path, tmp_path: Path) -> None:
    (folder / "nyu_test.txt").unlink()
    with pytest.raises(InputError, match=r"no .*nyu_test\.txt \(expected nyu_train\.txt and nyu_test\.txt with lines"):
        resolve("nyud_frames", root=tmp_path)
    (folder / "nyu_train.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"nyu_train\.txt cannot be read"):
        resolve("nyud_frames", root=tmp_path)
