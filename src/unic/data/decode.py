"""Decoding of an image from bytes or a file to upright RGB; all images of unic are decoded here.

A picture that cannot be decoded raises `DamagedImageError` with the reason.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from unic.data import _plugins
from unic.data._bounds import open_bounded
from unic.data.sources.base import DamagedImageError
from unic.errors import reason_of

# The formats are listed because Pillow also opens some that start programs (EPS runs Ghostscript) or read other files.
# In data from strangers these would be attacks.
_FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "ICO", "PCX", "JPEG2000", "AVIF",
)  # fmt: skip

SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".pcx", ".jp2", ".avif",
})  # fmt: skip

_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # of HEIF, after `ftyp`
_JXL = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a")  # first bytes of JPEG XL

Box = tuple[int, int, int, int]  # left, top, right, bottom

_SPARE = 1.5  # pixels that a reduced JPEG keeps on a side of the part, for each pixel of the view (docs/log.md)
_LARGE = 89_478_485  # pixels above which a picture is decoded smaller; Pillow's default limit, above which it warns
_AT_ONCE = 1 << 24  # pixels converted at a time, so that a large picture is not in memory twice
_HEAVY, _SLOW = 25_000_000, 10_000_000  # pixels and bytes above which JPEG 2000 is reduced; a megabyte takes 0.8 s

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def suffixes() -> frozenset[str]:
    """Suffixes of the images that can be read: `SUFFIXES` and those of the installed plugins of Pillow."""
    return SUFFIXES | _plugins.suffixes()


def is_image(data: bytes) -> bool:
    """Whether the bytes have the header of an image, also of a format whose plugin is missing."""
    if _needs_plugin(data[:32]):
        return True
    try:
        with _damage_has_a_reason(), open_bounded(data, _formats()):
            return True
    except DamagedImageError:
        return False


def decode(data: bytes | Path, *, whole: bool = False) -> Image.Image:
    """Decodes an image to RGB, with its EXIF orientation applied.

    Transparent pixels are blended with white, 16-bit greyscale is scaled to 8 bits, CMYK and palettes are converted,
    and of an animation the first frame is taken. An image of more than 89 megapixels is reduced to a half, a third … of
    its size.

    Args:
        data: the bytes of an image file, or its path.
        whole: keep the size of an image with more than 89 megapixels, too.

    Raises:
        DamagedImageError: the file cannot be read, is not an image, or exceeds a limit of `unic.data._bounds`.
    """
    with _damage_has_a_reason(data), _opened(data) as image:
        if not whole:
            _shrink(image, _excess(image.size))
        return _upright_rgb(image, whole=whole)


def decode_part(
    data: bytes | Path, choose: Callable[[int, int], Box], size: tuple[int, int]
) -> tuple[Image.Image, Box]:
    """Decodes an image for a view of a part of it: a JPEG at 1/2, 1/4 or 1/8 of its size if that leaves enough pixels.

    libjpeg computes a reduced image from fewer cosine coefficients, in a fraction of the time. Other formats are
    decoded at full size.

    Args:
        data: the bytes of an image file, or its path.
        choose: takes width and height of the upright image, returns the part.
        size: height and width of the view. In the reduced image, the sides of the part must be at least `_SPARE` times
            as long.

    Returns:
        The image as from `decode`, possibly reduced, and the part in it, rounded to its pixels.

    Raises:
        DamagedImageError: as `decode`.
    """
    with _damage_has_a_reason(data), _opened(data) as image:
        if not isinstance(image, JpegImageFile):
            image.load()  # a PNG has its EXIF behind the pixels; damaged pixels must not count as broken EXIF
        width, height = image.size[::-1] if 5 <= _orientation(image) <= 8 else image.size
        box = choose(width, height)
        room = min((box[2] - box[0]) / size[1], (box[3] - box[1]) / size[0]) / _SPARE
        _shrink(image, max(room, _excess(image.size)))
        reduced = _upright_rgb(image)
        factor = max(1, round(width / reduced.width))
        left, top, right, bottom = (round(edge / factor) for edge in box)
        return reduced, (left, top, min(right, reduced.width), min(bottom, reduced.height))


@contextmanager
def _damage_has_a_reason(data: bytes | Path = b"") -> Iterator[None]:
    try:
        # Pillow would warn about a wrong EXIF tag in every epoch; only the warning about a bomb matters.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except DamagedImageError:
        raise
    except Exception as error:  # decoders raise every kind: OSError, SyntaxError, struct.error, EOFError …
        package = _needs_plugin(_head(data)) if isinstance(error, UnidentifiedImageError) else None
        reason = f"needs the package {package} (pip install {package})" if package else _reason(error)
        raise DamagedImageError(reason) from None


def _opened(data: bytes | Path) -> Image.Image:
    image = open_bounded(data, _formats())
    if image.format == "JPEG2000":
        num_bytes = len(data) if isinstance(data, bytes) else data.stat().st_size
        excess = max(image.width * image.height / _HEAVY, num_bytes / _SLOW)
        # Each wavelet level that is left out halves the sides.
        image.reduce = max(0, math.ceil(math.log(excess, 4)))  # type: ignore[method-assign,assignment]
    return image


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    wanted = (*_FORMATS, *_plugins.register())
    return tuple(name for name in wanted if name in Image.OPEN)  # AVIF is optional in Pillow


def _head(data: bytes | Path) -> bytes:
    if isinstance(data, bytes):
        return data[:32]
    with suppress(OSError), data.open("rb") as stream:  # a regular file, as `open_bounded` has checked
        return stream.read(32)
    return b""


def _needs_plugin(head: bytes) -> str | None:
    """Package of the missing plugin for an image that begins with these bytes; None: no plugin is missing."""
    is_heif, is_jxl = head[4:8] == b"ftyp" and head[8:12] in _BRANDS, head.startswith(_JXL)
    suffix = ".heic" if is_heif else ".jxl" if is_jxl else ""
    return None if suffix in _plugins.suffixes() else _plugins.PACKAGES.get(suffix)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation: 1 is upright, 5 to 8 are turned on a side."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken metadata do not damage the pixels
        return 1


def _excess(size: tuple[int, int]) -> int:
    """The whole factor by which the sides of a picture are reduced so that it has at most `_LARGE` pixels."""
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / _LARGE)))


def _shrink(image: Image.Image, factor: float) -> None:
    """Makes Pillow decode a JPEG at 1/2, 1/4 or 1/8 of its size, reduced by at most `factor`."""
    if factor >= 2 and isinstance(image, JpegImageFile):
        image.draft(image.mode, (int(image.width / factor), int(image.height / factor)))


def _upright_rgb(image: Image.Image, *, whole: bool = False) -> Image.Image:
    image.load()
    factor = 1 if whole else _excess(image.size)
    turn = _TURNS.get(_orientation(image))
    pixels = (
        image if image.mode == "RGB" and not image.has_transparency_data and factor == 1 else _in_strips(image, factor)
    )
    return pixels if turn is None else pixels.transpose(turn)


def _in_strips(image: Image.Image, factor: int) -> Image.Image:
    """Converts an image to RGB and reduces it by `factor`, strip by strip."""
    rows = max(1, _AT_ONCE // image.width // factor) * factor
    scale = 255.0 if image.mode == "F" and np.asarray(image).max(initial=0) <= 1 else 1.0
    if rows >= image.height and factor == 1:
        return _rgb(image, scale)
    reduced = Image.new("RGB", (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    for top in range(0, image.height, rows):
        strip = _rgb(image.crop((0, top, image.width, min(top + rows, image.height))), scale)
        reduced.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return reduced


def _rgb(image: Image.Image, scale: float) -> Image.Image:
    """Converts an image of any mode. `scale`: factor on floats, which a TIFF has in [0, 1] or in [0, 255]."""
    if image.mode == "F":
        values = np.asarray(image) * np.float32(scale)
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
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):  # a picture inside an .ico
        return "too many pixels (a decompression bomb?)"
    if isinstance(error, OSError) and error.strerror:  # without the path, which messages have already
        return error.strerror
    return f"cannot be decoded: {reason_of(error)}"
