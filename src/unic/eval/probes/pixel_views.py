"""Random views of images with a target for every pixel: a crop of the image and the same crop of its target.

Draws are keyed by seed, step and place in the batch, so they do not depend on the number of worker processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from unic import rng as draws
from unic.data.sources import DamagedImageError, Source
from unic.data.workers import Answer, answers
from unic.errors import InputError
from unic.eval.live import Live, as_tensor, read_pair
from unic.eval.outcome import IGNORED
from unic.eval.probes.photometric import coloured, distort, draw_colours, draw_distortion

_VIEWS, _ORDER = draws.stream("views of pixels"), draws.stream("order of pixels")
_SCALES = (0.5, 2.0)
_MOST_OF_A_CLASS = 0.75  # share of one class among the labelled pixels of a crop
_TRIES = 10  # draws of a crop, of which the last is taken whatever it holds
_DEGREES = 2.5

Pair = tuple[Float[Tensor, "3 h w"], np.ndarray]
Request = tuple[int, int, int]  # step, place in the batch, index of the image


View = Callable[[Image.Image, np.ndarray, np.random.Generator], Pair]
"""Makes a view of an image and its target. With worker processes it must be possible to send it to another process."""


@dataclass(frozen=True)
class SegmentationView:
    """Random scale, crop, flip and photometric distortion.

    The short side becomes `crop` times a factor from 0.5 to 2. Up to 10 crops are drawn until one holds several classes
    of which none has 75 % or more of the pixels. Where the image is smaller than the crop, the rest on the right and
    below is `colour`, and ignored.

    Attributes:
        crop: side of the view in pixels.
        colour: colour of padding.
    """

    crop: int
    colour: Sequence[float]

    def __call__(self, image: Image.Image, target: np.ndarray, rng: np.random.Generator) -> Pair:
        side = self.crop * float(rng.uniform(*_SCALES))
        pixels = with_short_side(as_tensor(image), side)
        mask = _nearest(target, (pixels.shape[1], pixels.shape[2]))
        for _ in range(_TRIES + 1):
            found = cut(pixels, mask, (self.crop, self.crop), rng)
            if _is_mixed(found[1]):
                break
        pixels, mask = flipped(*found, rng)
        pixels = distort(pixels, draw_distortion(rng))
        return padded(pixels, mask, (self.crop, self.crop), self.colour, IGNORED)


@dataclass(frozen=True)
class DepthView:
    """A rotation by up to 2.5° with probability ½, flip, crop, and random colours with probability ½.

    Where the image is smaller than the crop, the rest on the right and below is `colour`, of unknown depth. So are the
    corners that a rotation leaves, which are black.

    Attributes:
        crop: height and width of the view in pixels.
        colour: colour of padding.
    """

    crop: tuple[int, int]
    colour: Sequence[float]

    def __call__(self, image: Image.Image, target: np.ndarray, rng: np.random.Generator) -> Pair:
        is_rotated, degrees = rng.random() < 0.5, float(rng.uniform(-_DEGREES, _DEGREES))
        if is_rotated:
            image = image.rotate(degrees, Image.Resampling.BILINEAR)
            target = np.asarray(Image.fromarray(target).rotate(degrees, Image.Resampling.NEAREST))
        pixels, depth = flipped(as_tensor(image), target, rng)
        pixels, depth = cut(pixels, depth, self.crop, rng)
        colours = draw_colours(rng)
        if colours is not None:
            pixels = coloured(pixels, colours)
        return padded(pixels, depth, self.crop, self.colour, 0)


def with_short_side(image: Float[Tensor, "3 h w"], side: float) -> Float[Tensor, "3 h2 w2"]:
    """The image resized bilinearly, without anti-aliasing, so that its short side has about `side` pixels."""
    factor = side / min(image.shape[1:])
    height, width = (max(1, int(length * factor + 0.5)) for length in image.shape[1:])
    return F.interpolate(image[None], (height, width), mode="bilinear", align_corners=False)[0]


def cut(image: Tensor, target: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> Pair:
    """A random crop; a side that is shorter than the crop stays whole."""
    top, left = (int(rng.integers(max(length - side, 0) + 1)) for length, side in zip(target.shape, size, strict=True))
    rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
    return image[:, rows, columns], target[rows, columns]


def flipped(image: Tensor, target: np.ndarray, rng: np.random.Generator) -> Pair:
    """Mirrors left and right with probability ½."""
    return (image.flip(2), target[:, ::-1]) if rng.random() < 0.5 else (image, target)


def padded(image: Tensor, target: np.ndarray, size: tuple[int, int], colour: Sequence[float], unknown: int) -> Pair:
    height, width = target.shape
    if (height, width) == size:
        return image, target
    large = torch.tensor(list(colour)).view(3, 1, 1).repeat(1, *size)
    large[:, :height, :width] = image
    beyond = ((0, size[0] - height), (0, size[1] - width))
    return large, np.pad(target, beyond, constant_values=unknown)


def _nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (
        np.arange(new) * old // new for old, new in zip(mask.shape, size, strict=True)
    )  # the pixel at or before, as usual for masks
    return mask[np.ix_(rows, columns)]


def _is_mixed(mask: np.ndarray) -> bool:
    counts = np.bincount(mask.ravel(), minlength=IGNORED + 1)[:IGNORED]
    return bool(np.count_nonzero(counts) > 1 and counts.max() < _MOST_OF_A_CLASS * counts.sum())


def batches(
    live: Live, view: View, *, steps: int, batch_size: int, seed: int
) -> Iterator[tuple[Float[Tensor, "b 3 h w"], Tensor]]:
    """Views and targets of each step. Every epoch has its own order of the images; batches may span two epochs.

    A damaged image is replaced by the next readable one.

    Raises:
        InputError: no image can be read.
        WorkerError: a worker process has died, or not answered in time.
    """
    reader = _Reader(live.source, view, seed)
    requests = _requests(len(live.source), steps, batch_size, seed)
    found = answers(reader, requests, live.workers) if live.workers else map(reader, requests)
    images, targets = [], []
    for target, pixels in found:
        if isinstance(target, Exception):
            raise target
        assert pixels is not None
        images.append(torch.as_tensor(pixels).view(torch.float32))
        targets.append(torch.from_numpy(target))
        if len(images) == batch_size:
            yield torch.stack(images), torch.stack(targets)
            images, targets = [], []


def _requests(count: int, steps: int, batch_size: int, seed: int) -> Iterator[Request]:
    order = np.empty(0, np.int64)
    for number in range(steps * batch_size):
        epoch, place = divmod(number, count)
        if place == 0:
            order = np.random.default_rng((seed, _ORDER, epoch)).permutation(count)
        yield *divmod(number, batch_size), int(order[place])


@dataclass(frozen=True)
class _Reader:
    """Reads an image and makes its view, in a worker process or in this one."""

    source: Source
    view: View
    seed: int

    def __call__(self, request: Request) -> Answer:
        step, place, index = request
        rng = np.random.default_rng((self.seed, _VIEWS, step, place))
        try:
            image, target = self._readable(index)
        except InputError as error:
            return error, None
        pixels, found = self.view(image, target, rng)
        return np.ascontiguousarray(found), pixels.contiguous().numpy().view(np.uint8)  # what workers can send

    def _readable(self, first: int) -> tuple[Image.Image, np.ndarray]:
        reason = ""
        for index in range(first, first + len(self.source)):
            try:
                return read_pair(self.source, index % len(self.source))
            except DamagedImageError as error:
                reason = reason or f"{self.source.name(index % len(self.source))}: {error}"
        raise InputError(f"data '{self.source.path}': no image can be read; {reason}")
