"""What a picture may cost before it is decoded: at most about 1.5 GB and 10 s (measured, docs/log.md).

All bounds are of what the header says, so that no process has to be watched or ended.
"""

from __future__ import annotations

import io
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from PIL import Image

from unic.data._jpeg_scans import num_scans
from unic.data.sources.base import MAX_PIXELS, DamagedImageError

_limit: ContextVar[int] = ContextVar("max_pixels", default=MAX_PIXELS)
_opening = threading.Lock()  # Pillow's own limit is one for the whole process

MOST_BYTES = 2 << 30  # of a file: 200 megapixels of four channels in 16 bits are 1.6 GB
_MOST_SCANNED = 6_000_000_000  # pixels × scans of a JPEG: 0.7 ns each for a scan with nothing in it
# Decoders that hold a picture several times over, or are slow. JPEG 2000 is decoded smaller, see `unic.data.decode`.
_MOST_OF = {"WEBP": 60_000_000, "AVIF": 60_000_000, "HEIF": 60_000_000, "JXL": 60_000_000}
_MOST_PLAIN = 5_000_000  # of numbers written as text (PPM), which Pillow reads in Python
_MOST_COEFFICIENTS = 1_300_000_000  # bytes that a JPEG of several scans keeps until the last one, two for each value
_MOST_STRIP = 800_000_000  # bytes of a strip of a TIFF, which is decompressed in one piece


@contextmanager
def pixels_up_to(limit: int) -> Iterator[None]:
    """Pictures of at most so many pixels are read inside; larger ones are damaged."""
    token = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(token)


def open_bounded(data: bytes | Path, formats: tuple[str, ...]) -> Image.Image:
    """A picture with its header read and its pixels not.

    Raises:
        DamagedImageError: no regular file, an empty one, or one that would cost too much.
        Exception: whatever Pillow raises for what it cannot read.
    """
    if isinstance(data, Path) and not stat.S_ISREG(data.stat().st_mode):  # opening a pipe waits for a writer
        raise DamagedImageError("not a file")
    num_bytes = len(data) if isinstance(data, bytes) else data.stat().st_size
    if num_bytes == 0:
        raise DamagedImageError("empty file")
    if num_bytes > MOST_BYTES:  # some decoders read all of it first
        raise DamagedImageError(f"a file of {num_bytes} bytes, more than {MOST_BYTES}")
    with _opening:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # it knows one limit for all
        try:
            image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = before
    try:
        _check(image, data)
    except BaseException:
        image.close()
        raise
    return image


def _check(image: Image.Image, data: bytes | Path) -> None:
    width, height = image.size
    pixels, kind = width * height, str(image.format)
    if pixels > _limit.get():
        raise DamagedImageError(f"{width} x {height} pixels, more than data.max_pixels = {_limit.get()}")
    if pixels > (most := _MOST_OF.get(kind, pixels)):
        raise DamagedImageError(
            f"{width} x {height} pixels; of a {kind} at most {most}: decoding needs too much memory"
        )
    if kind == "PPM" and _decoder(image) == "ppm_plain" and pixels > _MOST_PLAIN:
        raise DamagedImageError(f"{width} x {height} pixels as text; at most {_MOST_PLAIN}: decoding takes too long")
    if kind == "TIFF" and (size := _strip(image)) > _MOST_STRIP:
        raise DamagedImageError(f"a strip of {size} bytes, more than {_MOST_STRIP}")
    if kind in ("JPEG", "MPO"):
        most = max(1, _MOST_SCANNED // max(1, pixels))
        found = num_scans(data, most)
        if found > most:
            raise DamagedImageError(f"more than {most} scans over {width} x {height} pixels (a decompression bomb?)")
        if found > 1 and 2 * pixels * len(image.getbands()) > _MOST_COEFFICIENTS:
            raise DamagedImageError(f"{width} x {height} pixels in {found} scans: decoding needs too much memory")


def _decoder(image: Image.Image) -> str:
    """Which of Pillow's decoders will read the pixels."""
    tiles = getattr(image, "tile", ())
    return str(tiles[0][0]) if tiles else ""


def _strip(image: Image.Image) -> int:
    """Bytes of the largest piece that libtiff decompresses at once; 0 of a file without compression."""
    tags = getattr(image, "tag_v2", {})
    if _decoder(image) != "libtiff":
        return 0
    bits = sum(tags.get(258, (1,)))
    rows = min(int(tags.get(278, image.height)), image.height)
    width, height = (int(tags.get(tag, side)) for tag, side in ((322, image.width), (323, rows)))
    return width * height * bits // 8
