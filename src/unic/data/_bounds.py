"""Limits on the memory and time that decoding a picture may take: about 1.5 GB and 10 s (measured, docs/log.md).

Each limit applies to numbers in the header, so it is checked before any pixel is decoded.
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
_opening = threading.Lock()  # Pillow's own limit is a global of the process

MOST_BYTES = 2 << 30  # of a file: 200 megapixels of four channels in 16 bits are 1.6 GB
_MOST_SCANNED = 6_000_000_000  # pixels × scans of a JPEG: an empty scan still takes 0.7 ns for each pixel
# Pixels, for decoders that are slow or hold a picture several times. JPEG 2000 is decoded smaller (`unic.data.decode`).
_MOST_OF = {"WEBP": 60_000_000, "AVIF": 60_000_000, "HEIF": 60_000_000, "JXL": 60_000_000}
_MOST_PLAIN = 5_000_000  # pixels of a PPM with numbers as text, which Pillow reads in Python
_MOST_COEFFICIENTS = 1_300_000_000  # bytes, two for each value, that a JPEG with several scans keeps until the last one
_MOST_STRIP = 800_000_000  # bytes of a strip of a TIFF, which is decompressed in one piece


@contextmanager
def pixels_up_to(limit: int) -> Iterator[None]:
    """Sets the largest number of pixels of a picture inside a `with` block; a larger picture counts as damaged."""
    token = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(token)


def open_bounded(data: bytes | Path, formats: tuple[str, ...]) -> Image.Image:
    """Opens a picture: reads its header but not its pixels.

    Args:
        data: the bytes of an image file, or its path.
        formats: Pillow's names of the formats to accept.

    Raises:
        DamagedImageError: not a regular file, an empty file, or a picture beyond a limit of this module.
        Exception: any error of Pillow, for a file that it cannot read.
    """
    if isinstance(data, Path) and not stat.S_ISREG(data.stat().st_mode):  # opening a pipe would wait for a writer
        raise DamagedImageError("not a file")
    num_bytes = len(data) if isinstance(data, bytes) else data.stat().st_size
    if num_bytes == 0:
        raise DamagedImageError("empty file")
    if num_bytes > MOST_BYTES:  # some decoders read all of it first
        raise DamagedImageError(f"a file of {num_bytes} bytes, more than {MOST_BYTES}")
    with _opening:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # `_check` has limits for each format
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
            f"{width} x {height} pixels in a {kind}, more than {most}: decoding needs too much memory"
        )
    if kind == "PPM" and _decoder(image) == "ppm_plain" and pixels > _MOST_PLAIN:
        raise DamagedImageError(f"{width} x {height} pixels as text, more than {_MOST_PLAIN}: decoding takes too long")
    if kind == "TIFF" and (size := _strip(image)) > _MOST_STRIP:
        raise DamagedImageError(f"a strip of {size} bytes, more than {_MOST_STRIP}")
    if kind in ("JPEG", "MPO"):
        most = max(1, _MOST_SCANNED // max(1, pixels))
        scans = num_scans(data, most)
        if scans > most:
            raise DamagedImageError(f"more than {most} scans over {width} x {height} pixels (a decompression bomb?)")
        if scans > 1 and 2 * pixels * len(image.getbands()) > _MOST_COEFFICIENTS:
            raise DamagedImageError(f"{width} x {height} pixels in {scans} scans: decoding needs too much memory")


def _decoder(image: Image.Image) -> str:
    """Name of the decoder with which Pillow will read the pixels; empty if it is unknown."""
    tiles = getattr(image, "tile", ())
    return str(tiles[0][0]) if tiles else ""


def _strip(image: Image.Image) -> int:
    """Bytes of the largest strip or tile that libtiff decompresses at once; 0 for a file without compression."""
    tags = getattr(image, "tag_v2", {})
    if _decoder(image) != "libtiff":
        return 0
    bits = sum(tags.get(258, (1,)))
    rows = min(int(tags.get(278, image.height)), image.height)
    width, height = (int(tags.get(tag, side)) for tag, side in ((322, image.width), (323, rows)))
    return width * height * bits // 8
