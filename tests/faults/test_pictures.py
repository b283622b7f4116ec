"""Pictures that cost more than they look: refused by their header, or decoded within about 1.5 GB and 10 s."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unic.data import _bounds
from unic.data._jpeg_scans import num_scans
from unic.data.decode import decode, decode_part
from unic.data.sources import DamagedImageError


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, bits: int, colour: int, channels: int) -> bytes:
    """Zeros of any size, a thousand to a byte."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer, row = zlib.compressobj(1), bytes(1 + width * channels * bits // 8)
    rows = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def with_scans(side: int, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again; of this many, 599 kB took 17.7 s to decode."""
    data = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def test_scans_are_counted(tmp_path: Path) -> None:
    photograph = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    plain, progressive = encoded(photograph, "JPEG"), encoded(photograph, "JPEG", progressive=True)
    assert num_scans(plain, 50) == 1
    assert num_scans(progressive, 50) == 10
    assert num_scans(progressive, 4) == 5  # no further than needed
    file = tmp_path / "1.jpg"
    file.write_bytes(progressive)
    assert num_scans(file, 50) == 10
    assert num_scans(with_scans(64, 30), 50) == 36
    assert num_scans(b"\xff\xd8", 50) == num_scans(b"", 50) == 0


def test_a_picture_of_many_scans_is_left_out_at_once() -> None:
    bomb = with_scans(6000, 3000)
    started = time.process_time()
    with pytest.raises(DamagedImageError, match="166 scans.*6000 x 6000"):
        decode(bomb)
    with pytest.raises(DamagedImageError, match="scans"):
        decode_part(bomb, lambda *size: (0, 0, *size), (32, 32))
    assert time.process_time() - started < 2
    assert decode(with_scans(64, 300)).size == (64, 64)  # a small one is only odd


BOMBS = {
    "text": (lambda: b"P3 3000 3000 255\n" + b"1 " * 100, "as text"),
    "size": (lambda: png(20_000, 20_000, 1, 0, 1), "20000 x 20000 pixels, more than data.max_pixels = 200000000"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_costs_too_much_is_left_out_at_once(name: str) -> None:
    make, reason = BOMBS[name]
    data = make()
    started = time.process_time()
    with pytest.raises(DamagedImageError, match=reason):
        decode(data)
    assert time.process_time() - started < 2


def test_decoders_that_need_more_memory_get_less(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", (64, 64)), "WEBP", lossless=True)
    assert decode(data).size == (64, 64)
    monkeypatch.setitem(_bounds._MOST_OF, "WEBP", 64 * 64 - 1)
    with pytest.raises(DamagedImageError, match="64 x 64.*WEBP.* 4095"):
        decode(data)


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    """Sparse: it takes no room on the disk."""
    (tmp_path / "x.webp").write_bytes(encoded(Image.new("RGB", (8, 8)), "WEBP"))
    os.truncate(tmp_path / "x.webp", 10**12)
    with pytest.raises(DamagedImageError, match="a file of 1000000000000 bytes"):
        decode(tmp_path / "x.webp")


def test_a_strip_of_a_tiff_is_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", (64, 64)), "TIFF", compression="tiff_deflate")
    assert decode(data).size == (64, 64)
    monkeypatch.setattr("unic.data._bounds._MOST_STRIP", 64 * 64 * 3 - 1)
    with pytest.raises(DamagedImageError, match="a strip of 12288 bytes"):
        decode(data)


_MEASURE = """
import json, resource, sys, time
from pathlib import Path
from unic.data.decode import decode, decode_part
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = []
for name in sys.argv[1:]:
    started = time.process_time()
    image = decode(Path(name))
    found.append([image.size, image.mode, time.process_time() - started])
print(json.dumps([found, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6]))
"""


def measured(*files: Path) -> tuple[list[list], float]:
    """Size, mode and seconds of each picture, decoded one after another in a process, and its growth in GB."""
    command = [sys.executable, "-c", _MEASURE, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, growth = json.loads(done.stdout)
    return found, growth


def test_large_pictures_are_read_within_bounds(tmp_path: Path) -> None:
    """An honest scan of 100 megapixels again and again, and a small file of grey in 16 bits that took 2 GB."""
    scan, deep = tmp_path / "scan.png", tmp_path / "deep.png"
    scan.write_bytes(png(10_000, 10_000, 8, 0, 1))
    deep.write_bytes(png(9400, 9400, 16, 0, 1))
    assert max(scan.stat().st_size, deep.stat().st_size) < 1_000_000
    found, growth = measured(scan, scan, scan, deep)
    assert [entry[:2] for entry in found] == [[[5000, 5000], "RGB"]] * 3 + [[[9400, 9400], "RGB"]]
    assert max(seconds for _, _, seconds in found) < 10
    assert growth < 1.0


def test_a_large_picture_comes_smaller_and_a_target_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is made small here: strips and factors are what is tested."""
    monkeypatch.setattr("unic.data.decode._LARGE", 1000)
    monkeypatch.setattr("unic.data.decode._AT_ONCE", 600)
    values = np.random.default_rng(0).integers(0, 256, (90, 60, 4), dtype=np.uint8)
    image = Image.fromarray(values)
    smaller = decode(encoded(image, "PNG"))
    white = Image.new("RGBA", image.size, "white")
    expected = Image.alpha_composite(white, image).convert("RGB").reduce(3)
    assert smaller.size == (20, 30)
    assert np.abs(np.asarray(smaller, int) - np.asarray(expected, int)).max() <= 1
    whole = decode(encoded(image, "PNG"), whole=True)
    assert np.array_equal(np.asarray(whole), np.asarray(Image.alpha_composite(white, image).convert("RGB")))
    assert decode(encoded(image.convert("RGB"), "JPEG")).size == (15, 23)  # 1/2 by libjpeg, the rest in strips
