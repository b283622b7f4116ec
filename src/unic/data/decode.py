"""Bytes or a file → one upright RGB image, or `DamagedImageError` with the reason: the only place that decodes."""

from __future__ import annotations

import functools
import io
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from unic.data.sources.base import DamagedImageError

# Named, because Pillow also opens formats that start other programs (EPS runs Ghostscript) or read other files.
# In data from strangers these are attacks, not images.
_FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "ICO", "PCX", "JPEG2000", "AVIF",
)  # fmt: skip

SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".pcx", ".jp2", ".avif",
})  # fmt: skip

Box = tuple[int, int, int, int]  # left, top, right, bottom

_SPARE = 1.5  # see docs/log.md: pixels of a smaller JPEG in a part for each pixel of the view


def decode(data: bytes | Path) -> Image.Image:
    """Decodes one image: RGB, EXIF orientation applied, the first frame of an animation, alpha over white.

    Greyscale of 16 bits is scaled to 8; CMYK and palettes are converted.

    Raises:
        DamagedImageError: it cannot be read, is not an image, or has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    with _damage_has_a_reason(), _opened(data) as image:
        return _rgb(_upright(image))


def decode_part(
    data: bytes | Path, choose: Callable[[int, int], Box], size: tuple[int, int]
) -> tuple[Image.Image, Box]:
    """Decodes for a view of one part of an image, at 1/2, 1/4 or 1/8 of its size where that leaves enough pixels.

    libjpeg computes the small image from fewer cosine coefficients, which takes a fraction of the time. Formats other
    than JPEG come in full.

    Args:
        choose: width and height of the upright image → the part.
        size: height and width of the view; a smaller image must still have `_SPARE` times as many in the part.

    Returns:
        The image as from `decode`, maybe smaller, and the part in it, rounded to its pixels.

    Raises:
        DamagedImageError: as `decode`.
    """
    with _damage_has_a_reason(), _opened(data) as image:
        if not isinstance(image, JpegImageFile):
            image.load()  # PNG looks for EXIF behind the pixels: damage there must not pass for broken EXIF
        width, height = image.size[::-1] if 5 <= _orientation(image) <= 8 else image.size
        box = choose(width, height)
        room = min((box[2] - box[0]) / size[1], (box[3] - box[1]) / size[0]) / _SPARE
        if room >= 2:
            image.draft(image.mode, (int(image.width / room), int(image.height / room)))
        found = _rgb(_upright(image))
        factor = max(1, round(width / found.width))
        left, top, right, bottom = (round(edge / factor) for edge in box)
        return found, (left, top, min(right, found.width), min(bottom, found.height))


@contextmanager
def _damage_has_a_reason() -> Iterator[None]:
    try:
        # One wrong EXIF tag makes Pillow warn for every epoch; only the warning about a bomb means something here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except DamagedImageError:
        raise
    except Exception as error:  # decoders raise every kind: OSError, SyntaxError, struct.error, EOFError …
        raise DamagedImageError(_reason(error)) from None


def _opened(data: bytes | Path) -> Image.Image:
    if isinstance(data, Path) and not stat.S_ISREG(data.stat().st_mode):  # opening a pipe waits for a writer
        raise DamagedImageError("not a file")
    if (len(data) if isinstance(data, bytes) else data.stat().st_size) == 0:
        raise DamagedImageError("empty file")
    return Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=_formats())


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # AVIF is optional in Pillow


def _orientation(image: Image.Image) -> int:
    """The EXIF tag: 1 upright, 5 to 8 on its side."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken metadata around sound pixels: the picture is still worth keeping
        return 1


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":  # float TIFF: either [0, 1] or [0, 255]
        values = np.asarray(image)
        values = values * 255 if values.max(initial=0) <= 1 else values
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "I" or image.mode.startswith("I;16"):  # Pillow's own conversion clips at 255 instead of scaling
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        return Image.alpha_composite(white, coloured).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its text holds a memory address
        return "not an image in a known format"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels (a decompression bomb?)"
    if isinstance(error, OSError) and error.strerror:  # without the path, which stands beside it
        return error.strerror
    return f"cannot be decoded: {' '.join(str(error).split()) or type(error).__name__}"
