"""Image processors of transformers: their normalisation x = (255 · image · rescale − mean) / std, and their size."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Real, UInt8
from torch import Tensor

from unic.encoders.base import Size


def normalisation(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std for images in [0, 1]."""
    scale = 255 * processor.rescale_factor if getattr(processor, "do_rescale", True) else 255.0
    normalises = getattr(processor, "do_normalize", False)
    mean, std = (processor.image_mean, processor.image_std) if normalises else ([0.0] * 3, [1.0] * 3)
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)


def input_size(processor: Any) -> Size | None:
    """Height and width of the processor's output for a square image; None if its settings do not tell."""
    if getattr(processor, "max_num_patches", None) and getattr(processor, "patch_size", None):  # SigLIP 2, any aspect
        return (int(processor.max_num_patches**0.5) * processor.patch_size,) * 2
    wanted = ["size"]
    if getattr(processor, "do_center_crop", False):
        wanted.insert(0, "crop_size")
    if getattr(processor, "do_pad", False):
        wanted.insert(0, "pad_size")
    for name in wanted:
        size = getattr(processor, name, None)
        if isinstance(size, int):
            return size, size
        if size and size.get("height") and size.get("width"):
            return size.get("height"), size.get("width")
        edge = size and (size.get("shortest_edge") or size.get("longest_edge"))
        if edge:
            return edge, edge
    return None


def preprocess(processor: Any, image: UInt8[np.ndarray, "h w 3"]) -> Real[Tensor, "1 3 h w"]:
    """Output of the processor for an image that already has the right size."""
    height, width = image.shape[:2]
    options = {name: False for name in ("do_resize", "do_center_crop", "do_pad") if hasattr(processor, name)}
    patch = getattr(processor, "patch_size", None)
    if getattr(processor, "max_num_patches", None) and patch:  # it would resize the image to the largest number allowed
        options = {"max_num_patches": (height // patch) * (width // patch)}
    pixels = processor(images=[image], return_tensors="pt", **options)["pixel_values"]
    return pixels if patch is None or pixels.ndim == 4 else from_patches(pixels, patch, (height, width))


def to_patches(x: Float[Tensor, "b 3 h w"], patch: int) -> Float[Tensor, "b n d"]:
    """Flattened patches, row by row; within a patch the channel runs fastest (SigLIP 2)."""
    batch, channels, height, width = x.shape
    rows, columns = height // patch, width // patch
    blocks = x.reshape(batch, channels, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
    return blocks.reshape(batch, rows * columns, patch * patch * channels)


def from_patches(patches: Float[Tensor, "b n d"], patch: int, size: Size) -> Float[Tensor, "b 3 h w"]:
    """The inverse of `to_patches`."""
    rows, columns = size[0] // patch, size[1] // patch
    blocks = patches[:, : rows * columns].view(len(patches), rows, columns, patch, patch, 3)
    return blocks.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), 3, *size)
