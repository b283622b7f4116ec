"""Reading of targets, which give every pixel of an image a class index or a depth, and of the names of the classes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError

from unic._regular_files import read_json, read_text
from unic.data._bounds import open_bounded
from unic.data.sources.base import MAX_PIXELS, DamagedImageError
from unic.errors import InputError, reason_of

IGNORED = 255  # class index of the pixels that are ignored
MILLIMETRES = 1000.0  # steps of a depth PNG in a metre


class MisfitError(DamagedImageError):
    """A readable target that does not fit its image: another size, or classes without a name."""


def read_mask(data: bytes | Path) -> UInt8[np.ndarray, "h w"]:
    """Class indices from a PNG: grey values, palette indices, or colours whose three channels are equal.

    Args:
        data: the bytes of a PNG, or its path.

    Raises:
        DamagedImageError: the PNG cannot be decoded.
        MisfitError: it holds colours, or values above 255.
    """
    values = _png(data)
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2:
        raise MisfitError("its mask holds colours; expected one channel of class indices")
    if values.max(initial=0) > IGNORED:
        raise MisfitError(f"its mask holds {values.max()}; expected class indices up to {IGNORED - 1}, or {IGNORED}")
    return values.astype(np.uint8)


def read_depth(data: Path, scale: float = MILLIMETRES) -> Float[np.ndarray, "h w"]:
    """Depths in metres (float32, 0 where unknown) from a 16-bit PNG, or from floats in a .npy file.

    Args:
        data: the file.
        scale: steps of a PNG in a metre.

    Raises:
        DamagedImageError: the file cannot be read.
        MisfitError: the file holds something else.
    """
    if data.suffix != ".npy":
        values = _png(data)
        if values.ndim != 2 or values.dtype.itemsize < 2:
            raise MisfitError("its depth has colours or 8 bits; expected a PNG of one channel with 16 bits, or .npy")
        return np.divide(values, np.float32(scale), dtype=np.float32)
    try:
        values = np.load(data, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises ValueError, OSError, EOFError, MemoryError …
        raise DamagedImageError(f"its depth: {_reason(error)}") from None
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind != "f":
        raise MisfitError("its depth is not an array (height, width) of floats, in metres")
    if values.size > MAX_PIXELS:
        raise DamagedImageError(f"its depth has {values.size} pixels, more than {MAX_PIXELS}")
    return np.where(np.isfinite(values) & (values > 0), values, 0).astype(np.float32)


def check_fit(image: Image.Image, target: np.ndarray, classes: list[str] | None) -> None:
    """Raises `MisfitError` if a target has another size than its image, or a class index without a name."""
    if target.shape != (image.height, image.width):
        height, width = target.shape
        raise MisfitError(f"its target has {width} × {height} pixels, the image {image.width} × {image.height}")
    if classes is not None:
        largest = target.max(initial=0, where=target != IGNORED)
        if largest >= len(classes):
            raise MisfitError(f"its mask holds class {largest}; the named classes are 0 to {len(classes) - 1}")


def class_names(path: str, *folders: Path) -> list[str] | None:
    """Names of the classes, from the first `classes.json` (a list) or `classes.txt` (a name in each line) in `folders`.

    Returns:
        The names by class index; None if no folder has such a file.

    Raises:
        InputError: the file cannot be read, names fewer than 2 or more than 255 classes, or a class twice.
    """
    for file in (folder / name for folder in folders for name in ("classes.json", "classes.txt")):
        if not file.is_file():
            continue
        try:
            lines = [] if file.suffix == ".json" else read_text(file).splitlines()
            names = json_names(file) if file.suffix == ".json" else [line for line in lines if line.strip()]
        except (OSError, ValueError) as error:
            raise InputError(f"data '{path}': {file} cannot be read ({error})") from None
        if not 2 <= len(names) <= IGNORED or len(set(names)) < len(names):
            raise InputError(f"data '{path}': {file}: expected a list of 2 to {IGNORED} different class names")
        return names
    return None


def json_names(file: Path) -> list[str]:
    """Names of classes from a JSON list. Raises `OSError` or `ValueError` for anything else."""
    names = read_json(file)
    if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
        raise ValueError("expected a list of class names")
    return [str(name) for name in names]


def _png(data: bytes | Path) -> np.ndarray:
    """Values of a PNG, `(h, w)` or `(h, w, channels)`. Other formats are refused: JPEG would change class indices."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_bounded(data, ("PNG",)) as image:
                return np.array(image)
    except DamagedImageError as error:
        raise DamagedImageError(f"its target: {error}") from None
    except Exception as error:  # decoders raise every kind, as in `unic.data.decode`
        raise DamagedImageError(f"its target: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its text holds a memory address
        return "not a PNG file"
    return reason_of(error)
