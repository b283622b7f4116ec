"""Images with the same bytes have the same number, whatever holds them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unic.data.sources import contents, open_source
from unic.data.sources.arrays import Arrays
from unic.data.sources.contents import content_numbers


def noise(file: Path, seed: int, side: int = 8) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def alike(*sources) -> list[list[int]]:
    """For each image the first one, over all sources, that has its content."""
    numbers = np.concatenate(content_numbers(*sources)).tolist()
    firsts = [numbers.index(number) for number in numbers]
    ends = np.cumsum([len(source) for source in sources])[:-1]
    return [part.tolist() for part in np.split(np.array(firsts), ends)]


def test_copies_under_other_names(tmp_path):
    for name, seed in (("a/0.png", 0), ("a/1.png", 1), ("b/copy.bmp", 1), ("b/x.png", 2), ("b/y.png", 0)):
        noise(tmp_path / name, seed)
    (tmp_path / "b" / "copy.bmp").write_bytes((tmp_path / "a" / "1.png").read_bytes())
    assert alike(open_source(f"{tmp_path}/a"), open_source(f"{tmp_path}/b")) == [[0, 1], [1, 3, 0]]


def test_large_files_are_read_whole_where_their_slices_agree(tmp_path):
    file = noise(tmp_path / "a.bmp", 0, 128)
    data = bytearray(file.read_bytes())
    (tmp_path / "b.bmp").write_bytes(data)
    data[len(data) // 4] ^= 1  # between the slices: only the whole tells
    (tmp_path / "c.bmp").write_bytes(data)
    assert len(data) > 4 * 4096
    assert alike(open_source(str(tmp_path))) == [[0, 0, 2]]


def test_what_cannot_be_read_is_like_nothing_else(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "c.png")
    (tmp_path / "d.png").symlink_to("nowhere.png")
    noise(tmp_path / "e.png", 0)
    assert alike(open_source(str(tmp_path))) == [[0, 1, 2, 3, 4]]


def test_pixels_where_there_is_no_file():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    images[2] = images[0]
    assert alike(Arrays("x", images, np.zeros(3, int), ["a"])) == [[0, 1, 0]]


def test_the_answer_for_a_large_set_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "_KEPT_FROM", 3)
    for name, seed in (("a/0.png", 0), ("a/1.png", 1), ("b/0.png", 0)):
        noise(tmp_path / name, seed)
    sources = open_source(f"{tmp_path}/a"), open_source(f"{tmp_path}/b")
    assert alike(*sources) == [[0, 1], [0]]
    monkeypatch.setattr(contents, "_compare", lambda _: pytest.fail("compared again"))
    assert alike(*sources) == [[0, 1], [0]]
    monkeypatch.undo()
    monkeypatch.setattr(contents, "_KEPT_FROM", 3)
    noise(tmp_path / "b" / "0.png", 5)
    assert alike(open_source(f"{tmp_path}/a"), open_source(f"{tmp_path}/b")) == [[0, 1], [2]]


def test_a_cache_that_cannot_be_written_is_not_needed(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNIC_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(contents, "_KEPT_FROM", 1)
    noise(tmp_path / "a" / "0.png", 0)
    assert alike(open_source(f"{tmp_path}/a")) == [[0]]
