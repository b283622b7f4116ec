"""The colour operations of `torchvision.transforms.v2.functional`, with a parameter for each image of a batch.

Images are `(b, 3, h, w)` in [0, 1]; factors are `(b, 1, 1, 1)`. The operations are limited by passes over memory. So
they use `lerp`, change fresh tensors in place, and compute a hue without converting back from HSV.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_BLUR_KERNEL = 9
_GREY = (0.2989, 0.587, 0.114)


def brightness(x: Float[Tensor, "b 3 h w"], factor: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b 3 h w"]:
    return (x * factor).clamp_(0, 1)


def contrast(x: Float[Tensor, "b 3 h w"], factor: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b 3 h w"]:
    """Blends with the mean grey of the whole image."""
    return torch.lerp(grey(x.mean(dim=(2, 3), keepdim=True)), x, factor).clamp_(0, 1)


def saturation(x: Float[Tensor, "b 3 h w"], factor: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b 3 h w"]:
    """Blends with the grey image."""
    return torch.lerp(grey(x), x, factor).clamp_(0, 1)


def grey(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    r, g, b = x.split(1, dim=1)
    return (r * _GREY[0]).add_(g, alpha=_GREY[1]).add_(b, alpha=_GREY[2])


def hue(x: Float[Tensor, "b 3 h w"], offset: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b 3 h w"]:
    """Turns the hue by `offset` of the colour circle, in HSV.

    With the hue H in [0, 6), a channel is low + chroma · clamp(t, 0, 1), where t is |H − 3| − 1 for red, 2 − |H − 2|
    for green and 2 − |H − 4| for blue: the textbook's six cases, without the cases.
    """
    r, g, b = x.split(1, dim=1)
    high, low = torch.maximum(torch.maximum(r, g), b), torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    # Masks of the highest channel as numbers: on a CPU `where` and `aminmax` take ten times as long as a product.
    is_red = (r == high).to(x.dtype)
    is_green = (g == high).to(x.dtype).mul_(1 - is_red)
    is_blue = 1 - is_red - is_green
    turned = (g - b).mul_(is_red).addcmul_(b - r, is_green).addcmul_(r - g, is_blue)
    turned /= chroma.clamp_min(torch.finfo(x.dtype).tiny)  # grey pixels get hue 0, which changes nothing
    turned.add_(is_green, alpha=2).add_(is_blue, alpha=4)
    turned += 6 * offset
    turned -= 6 * (turned / 6).floor_()
    out = torch.empty_like(x)
    red, green, blue = out.split(1, dim=1)
    torch.sub(turned, 3, out=red).abs_().sub_(1)
    torch.sub(turned, 2, out=green).abs_().neg_().add_(2)
    torch.sub(turned, 4, out=blue).abs_().neg_().add_(2)
    return out.clamp_(0, 1).mul_(chroma).add_(low)


def blur(x: Float[Tensor, "b 3 h w"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b 3 h w"]:
    """Gaussian blur with kernel 9, reflected at the border, in two separable passes of 9 taps instead of one of 81."""
    half = _BLUR_KERNEL // 2
    height, width = x.shape[2:]
    places = torch.arange(half + 1, device=x.device) / sigma[:, None]
    taps = torch.exp(-0.5 * places**2)
    taps = (taps / (2 * taps.sum(1, keepdim=True) - 1))[:, :, None, None, None]  # the middle tap counts once
    # Shifted images are summed: a grouped convolution is no faster on many images and far slower on a few.
    x = F.pad(x, (half, half, half, half), mode="reflect")
    rows = x[..., half : half + width] * taps[:, 0]
    for tap in range(1, half + 1):
        left, right = half - tap, half + tap
        rows.addcmul_(x[..., left : left + width] + x[..., right : right + width], taps[:, tap])
    out = rows[..., half : half + height, :] * taps[:, 0]
    for tap in range(1, half + 1):
        above, below = half - tap, half + tap
        out.addcmul_(rows[..., above : above + height, :] + rows[..., below : below + height, :], taps[:, tap])
    return out


def solarize(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Inverts the values above 0.5."""
    return torch.minimum(x, 1 - x)
