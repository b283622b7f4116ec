"""Bytes or a file → one upright RGB image, or `DamagedImageError` with the reason: the only place that decodes."""

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

# Named, because Pillow also opens formats that start other programs (EPS runs Ghostscript) or read other files.
# In data from strangers these are attacks, not images.
_FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "ICO", "PCX", "JPEG2000", "AVIF",
)  # fmt: skip

SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".pcx", ".jp2", ".avif",
})  # fmt: skip

_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # of HEIF, behind `ftyp`
_JXL = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a")  # how JPEG XL begins

Box = tuple[int, int, int, int]  # left, top, right, bottom

_SPARE = 1.5  # see docs/log.md: pixels of a smaller JPEG in a part for each pixel of the view
_LARGE = 89_478_485  # pixels; what has more comes smaller. Pillow's own limit: with it, such pictures could not be read
_AT_ONCE = 1 << 24  # pixels that are converted at a time, so that a large picture is in memory little more than once
_HEAVY, _SLOW = 25_000_000, 10_000_000  # pixels and bytes of JPEG 2000, which takes 0.8 s for each of its megabytes

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def suffixes() -> frozenset[str]:
    """Of the images that can be read here: `SUFFIXES`, and those of Pillow's plugins that are installed."""
    return SUFFIXES | _plugins.suffixes()


def is_image(data: bytes) -> bool:
    """Whether some bytes begin like an image, one that needs a plugin included. Pixels are not decoded."""
    if _needs_plugin(data[:32]):
        return True
    try:
        with _damage_has_a_reason(), open_bounded(data, _formats()):
            return True
    except DamagedImageError:
        return False


def decode(data: bytes | Path, *, whole: bool = False) -> Image.Image:
    """Decodes one image: RGB, EXIF orientation applied, the first frame of an animation, alpha over white.

    Greyscale of 16 bits is scaled to 8; CMYK and palettes are converted. One of more than 89 megapixels comes at a
    half, a third … of its size: views are of some hundred pixels.

    Args:
        data: the bytes of an image file, or its path.
        whole: at its own size, whatever that is.

    Raises:
        DamagedImageError: it cannot be read, is not an image, or would cost too much (`unic.data._bounds`).
    """
    with _damage_has_a_reason(data), _opened(data) as image:
        if not whole:
            _shrink(image, _excess(image.size))
        return _upright_rgb(image, whole=whole)


def decode_part(
    data: bytes | Path, choose: Callable[[int, int], Box], size: tuple[int, int]
) -> tuple[Image.Image, Box]:
    """Decodes for a view of one part of an image, at 1/2, 1/4 or 1/8 of its size where that leaves enough pixels.

    libjpeg computes the small image from fewer cosine coefficients, which takes a fraction of the time. Formats other
    than JPEG come in full.

    Args:
        data: the bytes of an image file, or its path.
        choose: width and height of the upright image → the part.
        size: height and width of the view; a smaller image must still have `_SPARE` times as many in the part.

    Returns:
        The image as from `decode`, maybe smaller, and the part in it, rounded to its pixels.

    Raises:
        DamagedImageError: as `decode`.
    """
    with _damage_has_a_reason(data), _opened(data) as image:
        if not isinstance(image, JpegImageFile):
            image.load()  # PNG looks for EXIF behind the pixels: damage there must not pass for broken EXIF
        width, height = image.size[::-1] if 5 <= _orientation(image) <= 8 else image.size
        box = choose(width, height)
        room = min((box[2] - box[0]) / size[1], (box[3] - box[1]) / size[0]) / _SPARE
        _shrink(image, max(room, _excess(image.size)))
        found = _upright_rgb(image)
        factor = max(1, round(width / found.width))
        left, top, right, bottom = (round(edge / factor) for edge in box)
        return found, (left, top, min(right, found.width), min(bottom, found.height))


@contextmanager
def _damage_has_a_reason(data: bytes | Path = b"") -> Iterator[None]:
    try:
        # One wrong EXIF tag makes Pillow warn for every epoch; only the warning about a bomb means something here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except DamagedImageError:
        raise
    except Exception as error:  # decoders raise every kind: OSError, SyntaxError, struct.error, EOFError …
        package = _needs_plugin(_head(data)) if isinstance(error, UnidentifiedImageError) else None
        raise DamagedImageError(f"it needs the package {package}" if package else _reason(error)) from None


def _opened(data: bytes | Path) -> Image.Image:
    image = open_bounded(data, _formats())
    if image.format == "JPEG2000":
        num_bytes = len(data) if isinstance(data, bytes) else data.stat().st_size
        excess = max(image.width * image.height / _HEAVY, num_bytes / _SLOW)
        # Each level of its wavelets that is left out halves the sides.
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
    with suppress(OSError), data.open("rb") as stream:  # a regular file: `open_bounded` has looked
        return stream.read(32)
    return b""


def _needs_plugin(head: bytes) -> str | None:
    """The package that reads what begins so, if it is of a format that needs one that is not installed."""
    is_heif, is_jxl = head[4:8] == b"ftyp" and head[8:12] in _BRANDS, head.startswith(_JXL)
    suffix = ".heic" if is_heif else ".jxl" if is_jxl else ""
    return None if suffix in _plugins.suffixes() else _plugins.PACKAGES.get(suffix)


def _orientation(image: Image.Image) -> int:
    """The EXIF tag: 1 upright, 5 to 8 on its side."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken metadata around sound pixels: the picture is still worth keeping
        return 1


def _excess(size: tuple[int, int]) -> int:
    """The factor by which the sides of a picture of this size become smaller."""
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / _LARGE)))


def _shrink(image: Image.Image, factor: float) -> None:
    """Has a JPEG decoded at 1/2, 1/4 or 1/8 of its size, at most `factor` times smaller."""
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
    """As RGB, `factor` times smaller, a strip at a time."""
    rows = max(1, _AT_ONCE // image.width // factor) * factor
    scale = 255.0 if image.mode == "F" and np.asarray(image).max(initial=0) <= 1 else 1.0
    if rows >= image.height and factor == 1:
        return _rgb(image, scale)
    found = Image.new("RGB", (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    for top in range(0, image.height, rows):
        strip = _rgb(image.crop((0, top, image.width, min(top + rows, image.height))), scale)
        found.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return found


def _rgb(image: Image.Image, scale: float) -> Image.Image:
    """`scale`: of floats, which a TIFF has either in [0, 1] or in [0, 255]."""
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
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):  # of a picture in an .ico
        return "too many pixels (a decompression bomb?)"
    if isinstance(error, OSError) and error.strerror:  # without the path, which stands beside it
        return error.strerror
    return f"cannot be decoded: {reason_of(error)}"
