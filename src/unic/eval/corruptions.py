"""Twelve corruptions of an image in five severities, in the spirit of ImageNet-C (Hendrycks and Dietterich, 2019).

Noise, blur, weather and digital damage as in arXiv 1903.12261, §3.1, in an implementation of our own. Lengths are
fractions of the shorter side. Each severity changes an image more than the one below. Random values are a function of
(corruption, severity, image index).
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import Image

from unic import rng
from unic.data import augment as augmentations
from unic.data.sources import Source
from unic.errors import InputError, nearest

SEVERITIES = (1, 2, 3, 4, 5)
_VERSION = 1  # part of the cache keys of features; raise it when the pixels of any corruption change

PixelArray = Float[np.ndarray, "h w 3"]  # float32 in [0, 1]; results of corruptions are clipped to this range
_Operation = Callable[[PixelArray, float, np.random.Generator], PixelArray]


class _Changed(Source):
    """The images of another source, changed when they are read."""

    def __init__(self, source: Source, change: str) -> None:
        self.path, self.classes = f"{source.path} ({change})", source.classes
        self._source, self._change = source, change

    def __len__(self) -> int:
        return len(self._source)

    def label(self, index: int) -> int | None:
        return self._source.label(index)

    def name(self, index: int) -> str:
        return f"{self._source.name(index)} ({self._change})"

    def fingerprint(self) -> str:
        return f"{self._source.fingerprint()}/{self._change}"


class Square(_Changed):
    """The centre square of every image at `side` pixels, as an encoder of this input size gets it.

    Args:
        source: the images.
        side: side of the square in pixels.
    """

    def __init__(self, source: Source, side: int) -> None:
        super().__init__(source, f"square {side}")
        self._side = side

    def read(self, index: int) -> Image.Image:
        view = augmentations.preset("none").crop(self._source.read(index), 0, 0, index, self._side)
        return Image.fromarray(view.permute(1, 2, 0).numpy())


class Corrupted(_Changed):
    """Every image of `source` with a corruption; sizes and labels stay.

    Args:
        source: the images.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.

    Raises:
        InputError: no such corruption or severity.
    """

    def __init__(self, source: Source, name: str, severity: int) -> None:
        if name not in CORRUPTIONS:
            raise InputError(f"unknown corruption '{name}'{nearest(name, CORRUPTIONS)}")
        if severity not in SEVERITIES:
            raise InputError(f"corruption '{name}': expected a severity of 1 to 5, not {severity}")
        super().__init__(source, f"{name} {severity} v{_VERSION}")
        self._corruption, self._severity = name, severity

    def read(self, index: int) -> Image.Image:
        seed = rng.seed_of(rng.stream(self._corruption), self._severity, index)
        return corrupt(self._source.read(index), self._corruption, self._severity, np.random.default_rng(seed))


def corrupt(image: Image.Image, name: str, severity: int, draw: np.random.Generator) -> Image.Image:
    """The corrupted image, RGB, of the same size.

    Args:
        image: an RGB image.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        draw: generator of all random values.
    """
    operation, amounts = CORRUPTIONS[name]
    pixels = np.asarray(image, dtype=np.float32) / 255
    return _image(operation(pixels, amounts[severity - 1], draw))


def gaussian_noise(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    return x + amount * draw.standard_normal(x.shape, dtype=np.float32)


def shot_noise(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    """Poisson noise of `1 / amount²` photons at full brightness, where `amount` is the standard deviation."""
    photons = amount**-2
    return draw.poisson(x * photons).astype(np.float32) / np.float32(photons)


def impulse_noise(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    """Sets a fraction `amount` of the values to 0 or 1."""
    chance = draw.random(x.shape, dtype=np.float32)
    return np.where(chance < amount / 2, np.float32(0), np.where(chance < amount, np.float32(1), x))


def defocus_blur(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    """Convolution with a disc of radius `amount`."""
    radius = amount * min(x.shape[:2])
    rows, columns = _offsets(math.ceil(radius))
    return _convolved(x, (radius + 0.5 - np.hypot(rows, columns)).clip(0, 1))


def motion_blur(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    """Convolution with a line of half length `amount` in a random direction."""
    half = amount * min(x.shape[:2])
    angle = math.pi * draw.random()
    rows, columns = _offsets(math.ceil(half))
    along = rows * math.sin(angle) + columns * math.cos(angle)
    beyond = (np.abs(along) - half).clip(0)
    across = rows * math.cos(angle) - columns * math.sin(angle)
    return _convolved(x, (1 - np.hypot(beyond, across)).clip(0))


def zoom_blur(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    """Mean of eight magnifications from 1 to `1 + amount` about the centre."""
    image = _image(x)
    width, height = image.size
    total = np.zeros_like(x)
    for zoom in np.linspace(1, 1 + amount, 8).tolist():
        left, top = (width - width / zoom) / 2, (height - height / zoom) / 2
        box = (left, top, width - left, height - top)
        total += np.asarray(image.resize(image.size, Image.Resampling.BILINEAR, box), dtype=np.float32)
    return total / (8 * 255)


def fog(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    """Light grey mist with a density of at most `amount`, a sum of random grids of 2, 4, …, 32 cells, coarse ones
    weighted more."""
    height, width = x.shape[:2]
    mist = np.zeros((height, width), np.float32)
    for cells in (2, 4, 8, 16, 32):
        grid = Image.fromarray(draw.random((cells, cells), dtype=np.float32) / cells)
        mist += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
    mist = (mist - mist.min()) / np.ptp(mist)
    density = amount * (0.5 + 0.5 * mist[..., None])
    return x * (1 - density) + 0.8 * density


def brightness(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    """Adds `amount` to the value of HSV; hue and saturation stay."""
    value = x.max(axis=2, keepdims=True)
    brighter = (value + amount).clip(max=1)
    return np.where(value > 0, x * (brighter / np.maximum(value, 1 / 512)), brighter)


def contrast(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    """Reduces the distance to the mean colour by a fraction `amount`."""
    mean = x.mean(axis=(0, 1))
    return mean + (1 - amount) * (x - mean)


def saturate(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    """Multiplies the distance to grey by `amount`."""
    grey = (x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    return grey + amount * (x - grey)


def pixelate(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    """Replaces squares of side `amount` by their mean colour."""
    image = _image(x)
    cell = max(1.0, amount * min(image.size))
    small = image.resize([max(1, round(side / cell)) for side in image.size], Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.NEAREST), dtype=np.float32) / 255


def jpeg_compression(x: PixelArray, amount: float, draw: np.random.Generator) -> PixelArray:
    """Stores the image as JPEG of quality `amount`; blocks have a side of eight pixels at any image size."""
    stored = io.BytesIO()
    _image(x).save(stored, "JPEG", quality=int(amount))
    return np.asarray(Image.open(stored), dtype=np.float32) / 255


CORRUPTIONS: dict[str, tuple[_Operation, tuple[float, float, float, float, float]]] = {
    "gaussian_noise": (gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (shot_noise, (0.13, 0.2, 0.29, 0.45, 0.58)),
    "impulse_noise": (impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": (defocus_blur, (0.013, 0.018, 0.027, 0.036, 0.045)),
    "motion_blur": (motion_blur, (0.020, 0.032, 0.045, 0.060, 0.080)),
    "zoom_blur": (zoom_blur, (0.10, 0.15, 0.20, 0.26, 0.33)),
    "fog": (fog, (0.4, 0.5, 0.6, 0.7, 0.8)),
    "brightness": (brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (contrast, (0.6, 0.7, 0.8, 0.9, 0.95)),
    "saturate": (saturate, (1.5, 2.0, 3.0, 5.0, 10.0)),
    "pixelate": (pixelate, (0.012, 0.016, 0.021, 0.028, 0.036)),
    "jpeg_compression": (jpeg_compression, (25, 18, 15, 10, 7)),
}


def _image(x: PixelArray) -> Image.Image:
    return Image.fromarray((x.clip(0, 1) * 255 + 0.5).astype(np.uint8))


def _offsets(reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every tap of a kernel, from its centre."""
    steps = np.arange(-reach, reach + 1, dtype=np.float32)
    return steps[:, None], steps[None, :]


def _convolved(x: PixelArray, kernel: Float[np.ndarray, "k l"]) -> PixelArray:
    """Convolution with a kernel that is scaled to sum 1; the border is repeated.

    It is computed by FFT, as kernels have up to 1000 taps.
    """
    reach = (len(kernel) - 1) // 2
    padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    size = padded.shape[:2]
    taps = np.fft.rfft2(kernel / kernel.sum(), size)[..., None]
    total = np.fft.irfft2(np.fft.rfft2(padded, axes=(0, 1)) * taps, size, axes=(0, 1))
    return total[2 * reach :, 2 * reach :].astype(np.float32)
