"""The augmented view of an image: a function of (seed, epoch, index) and of nothing else.

The crop runs where the image is decoded, because it turns images of any size into one; everything after it runs on the
whole batch on the device. Each image draws its own parameters from `unic.rng`, so a view depends neither on the batch
it is in nor on workers, processes or a resume. The operations are those of `torchvision.transforms.v2.functional`, with
one parameter per image instead of one per call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from unic import rng
from unic.errors import InputError, nearest

_TRIES = 10  # of RandomResizedCrop, as in torchvision
_BLUR_KERNEL = 9
_GREY = (0.2989, 0.587, 0.114)

# Columns of the draws of one image. The colour operations are ordered by four numbers of their own.
_FLIP, _JITTER, _ORDER, _FACTORS, _GRAYSCALE, _BLUR, _SIGMA, _SOLARIZE, _NUM_DRAWS = 0, 1, 2, 6, 10, 11, 12, 13, 14


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image, and how often. All probabilities are per image.

    Attributes:
        scale: range of the crop's share of the area; None: the centre square, uncropped otherwise.
        whole: without `scale`, the whole image squeezed into the view: no pixel is left out.
        ratio: range of the crop's width over height.
        flip: probability of a horizontal flip.
        jitter: probability of colour jitter.
        strength: brightness, contrast, saturation, hue of the jitter; 0.4 means a factor in [0.6, 1.4].
        grayscale, blur, solarize: probabilities.
        sigma: range of the standard deviation of the blur, in pixels, for a kernel of 9.
    """

    scale: tuple[float, float] | None = None
    whole: bool = False
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0
    jitter: float = 0.0
    strength: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    grayscale: float = 0.0
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 5.0)
    solarize: float = 0.0

    @property
    def is_random(self) -> bool:
        return self not in (Augmentation(), Augmentation(whole=True))

    def crop(
        self, image: Image.Image, seed: int, epoch: int, index: int, size: int | tuple[int, int]
    ) -> UInt8[Tensor, "3 h w"]:
        """The random (or centre square) crop of an RGB image, resized bicubically with anti-aliasing.

        Args:
            size: side of the view, or its height and width.
        """
        height, width = (size, size) if isinstance(size, int) else size
        if self.whole:
            box = (0, 0, *image.size)
        elif self.scale is None:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            box = (left, top, left + side, top + side)
        else:
            box = self._box(image.width, image.height, seed, epoch, index)
        # Cropping first keeps pixels beyond the box out of the filter, as torchvision does.
        view = image.crop(box).resize((width, height), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(view)).permute(2, 0, 1).contiguous()

    def _box(self, width: int, height: int, seed: int, epoch: int, index: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of a random crop (Szegedy et al., 2014, as in torchvision's RandomResizedCrop)."""
        assert self.scale is not None
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        draws = rng.uniform(seed, rng.stream("crop"), epoch, index, torch.arange(4 * _TRIES)).view(_TRIES, 4).tolist()
        for area, shape, x, y in draws:
            area = width * height * (self.scale[0] + (self.scale[1] - self.scale[0]) * area)
            aspect = math.exp(low + (high - low) * shape)
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
                return left, top, left + w, top + h
        # Very long images: the largest centred box of an allowed shape.
        w = min(width, round(height * self.ratio[1]))
        h = min(height, round(width / self.ratio[0]))
        left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h

    def __call__(
        self, images: UInt8[Tensor, "b 3 h w"], seed: int, epoch: Int[Tensor, " b"], index: Int[Tensor, " b"]
    ) -> Float[Tensor, "b 3 h w"]:
        """Everything after the crop: flip, colour jitter, grayscale, blur, solarise.

        Args:
            images: cropped views, on any device.
            epoch, index: the keys of each image, **on the CPU**: which images an operation touches is decided there, so
                nothing waits for the device.

        Returns:
            Images in [0, 1] on the device of `images`.
        """
        x = images.float() / 255
        if not self.is_random:
            return x
        keys = epoch.cpu()[:, None], index.cpu()[:, None]
        u = rng.uniform(seed, rng.stream("augment"), *keys, torch.arange(_NUM_DRAWS))
        chosen = {
            column: torch.nonzero(u[:, column] < probability).flatten()
            for column, probability in (
                (_FLIP, self.flip), (_JITTER, self.jitter), (_GRAYSCALE, self.grayscale), (_BLUR, self.blur),
                (_SOLARIZE, self.solarize),
            )
        }  # fmt: skip
        x = _on(x, chosen[_FLIP], lambda part: part.flip(-1))
        x = self._jittered(x, u, chosen[_JITTER])
        x = _on(x, chosen[_GRAYSCALE], lambda part: _grey(part).expand_as(part))
        sigma = self.sigma[0] + (self.sigma[1] - self.sigma[0]) * u[chosen[_BLUR], _SIGMA]
        x = _on(x, chosen[_BLUR], lambda part: blur(part, sigma.to(part.device, non_blocking=True)))
        return _on(x, chosen[_SOLARIZE], solarize)

    def _jittered(self, x: Float[Tensor, "b 3 h w"], u: Float[Tensor, "b n"], rows: Int[Tensor, " m"]) -> Tensor:
        """The four colour operations on the images `rows`, each image in its own random order."""
        order = u[:, _ORDER : _ORDER + 4].argsort(dim=1, stable=True)
        spread = torch.tensor(self.strength)
        centred = (2 * u[:, _FACTORS : _FACTORS + 4] - 1) * spread
        factors = centred + torch.tensor([1.0, 1.0, 1.0, 0.0])  # hue is an offset, the others multiply
        factors[:, :3].clamp_(min=0)
        on_device = factors.to(x.device, non_blocking=True)
        for place in range(4):
            for operation, adjust in enumerate((brightness, contrast, saturation, hue)):
                here = rows[order[rows, place] == operation]
                if self.strength[operation] > 0 and len(here):
                    there = here.to(x.device, non_blocking=True)
                    x[there] = adjust(x[there], on_device[there, operation].view(-1, 1, 1, 1))
        return x


PRESETS = {
    "none": Augmentation(),
    "whole": Augmentation(whole=True),
    # The paper's (METHOD.md §6; Sariyildiz et al., 2024).
    "unic": Augmentation(
        scale=(0.08, 1.0), flip=0.5, jitter=0.8, strength=(0.4, 0.4, 0.2, 0.1), grayscale=0.2, blur=0.2, solarize=0.2
    ),
    # For letters, icons and drawings: a mirrored letter is another letter, and a twelfth of an icon is nothing.
    "light": Augmentation(scale=(0.5, 1.0), jitter=0.5, strength=(0.2, 0.2, 0.1, 0.02)),
}


def preset(name: str) -> Augmentation:
    """The augmentation of that name. Raises `InputError` with the nearest name if there is none."""
    if name not in PRESETS:
        raise InputError(f"unknown augmentation '{name}'{nearest(name, PRESETS)}")
    return PRESETS[name]


def brightness(x: Float[Tensor, "b 3 h w"], factor: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b 3 h w"]:
    return (x * factor).clamp(0, 1)


def contrast(x: Float[Tensor, "b 3 h w"], factor: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b 3 h w"]:
    """Blends with the mean grey of the whole image."""
    return _blend(x, _grey(x).mean(dim=(1, 2, 3), keepdim=True), factor)


def saturation(x: Float[Tensor, "b 3 h w"], factor: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b 3 h w"]:
    """Blends with the grey image."""
    return _blend(x, _grey(x), factor)


def hue(x: Float[Tensor, "b 3 h w"], offset: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b 3 h w"]:
    """Turns the hue by `offset` of the colour circle, in HSV."""
    h, s, v = _hsv(x)
    return _rgb((h + offset[:, 0]) % 1.0, s, v)


def blur(x: Float[Tensor, "b 3 h w"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b 3 h w"]:
    """Gaussian blur, kernel 9, reflected at the border; separable, so two passes of 9 taps instead of one of 81."""
    num, channels, height, width = x.shape
    half = _BLUR_KERNEL // 2
    taps = torch.linspace(-half, half, _BLUR_KERNEL, device=x.device)
    kernel = torch.softmax(-0.5 * (taps / sigma[:, None]) ** 2, dim=1)  # (b, 9)
    kernel = kernel.repeat_interleave(channels, dim=0)
    planes = x.reshape(1, num * channels, height, width)  # every plane is a channel with its own kernel
    planes = F.pad(planes, (half, half, half, half), mode="reflect")
    planes = F.conv2d(planes, kernel[:, None, None, :], groups=num * channels)
    planes = F.conv2d(planes, kernel[:, None, :, None], groups=num * channels)
    return planes.view_as(x)


def solarize(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Inverts what is brighter than the middle."""
    return torch.where(x >= 0.5, 1 - x, x)


def _on(x: Tensor, rows: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
    """`operation` on some images of the batch; `rows` comes from the CPU, so the device is not asked how many."""
    if len(rows):
        rows = rows.to(x.device, non_blocking=True)
        x[rows] = operation(x[rows])
    return x


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (x * factor + other * (1 - factor)).clamp(0, 1)


def _grey(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    r, g, b = x.unbind(dim=1)
    return (r * _GREY[0] + g * _GREY[1] + b * _GREY[2]).unsqueeze(1)


def _hsv(x: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation, value, each `(b, h, w)` in [0, 1]; a grey pixel has hue 0."""
    r, g, b = x.unbind(dim=1)
    low, high = x.aminmax(dim=1)
    chroma = high - low
    grey = chroma == 0
    safe = torch.where(grey, 1, chroma)
    sector = torch.where(high == r, (g - b) / safe, torch.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    return (sector / 6) % 1.0, chroma / torch.where(grey, 1, high), high


def _rgb(h: Tensor, s: Tensor, v: Tensor) -> Float[Tensor, "b 3 h w"]:
    """Inverse of `_hsv`: channel = v − v·s·max(0, min(k, 4 − k, 1)) with k = (n + 6h) mod 6 for n = 5, 3, 1."""
    h6 = h * 6
    channels = []
    for n in (5, 3, 1):
        k = (n + h6) % 6
        channels.append(v - v * s * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, dim=1)
