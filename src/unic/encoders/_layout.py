"""Patches among a timm model's features, and their grid: as the model's attributes say, compared with the input size.

Families differ: maps with channels first or last, patches behind no, one or several prefix tokens, class tokens alone
(PiT), features of several scales (CrossViT, parallel CoaT). Features that are not one whole grid of patches are
refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from unic.tokens import Grid


class NoGridError(ValueError):
    """The features are not one grid of patches; the text continues a sentence that begins with "its features"."""


@dataclass(frozen=True)
class Layout:
    """Layout of what `forward_features` returns.

    Attributes:
        is_map: True for a map `(B, E, H, W)` or `(B, H, W, E)`, False for tokens `(B, N, E)`.
        channels_last: True for a map `(B, H, W, E)`.
        num_prefix_tokens: number of tokens before the patches.
    """

    is_map: bool = False
    channels_last: bool = False
    num_prefix_tokens: int = 0


def layout_of(model: Any, features: Any) -> Layout:
    """The layout of a model, from its features of an image. Raises `NoGridError`."""
    if not isinstance(features, Tensor):
        raise NoGridError(f"are a {type(features).__name__}, of several scales or kinds")
    if features.ndim == 4:
        return Layout(is_map=True, channels_last=_has_channels_last(model, features))
    if features.ndim == 3:
        return Layout(num_prefix_tokens=_num_prefix_tokens(model))
    raise NoGridError(f"have the shape {tuple(features.shape)}")


def grid_of(model: Any, num_patches: int, size: tuple[int, int]) -> Grid:
    """Rows and columns of the patches of an image of that size. Raises `NoGridError`."""
    if num_patches < 1:
        raise NoGridError("are class tokens alone")
    feat_size: Callable[[Any], Any] | None = getattr(getattr(model, "patch_embed", None), "dynamic_feat_size", None)
    rows, columns = feat_size(size) if feat_size else (0, 0)
    if rows * columns != num_patches:  # a pyramid, whose last stage is coarser than its first patches
        rows = round((num_patches * size[0] / size[1]) ** 0.5)
        columns = num_patches // rows if rows else 0
        if rows * columns != num_patches or rows * size[1] != columns * size[0]:
            raise NoGridError(f"are {num_patches} patches, which make no grid over {size[0]}x{size[1]}")
    return int(rows), int(columns)


def _num_prefix_tokens(model: Any) -> int:
    """`num_prefix_tokens` of the model; in families without it (CoaT, VOLO) the last stage has one or none."""
    told = getattr(model, "num_prefix_tokens", None)
    if told is not None:
        return int(told)
    tokens = [value for name, value in model.named_parameters(recurse=False) if name.startswith("cls_token")]
    return int(tokens[-1].shape[1]) if tokens else 0


def _has_channels_last(model: nn.Module, features: Tensor) -> bool:
    told = getattr(model, "output_fmt", None)
    if told is not None:
        return str(told) == "NHWC"
    num_features = getattr(model, "num_features", features.shape[1])
    return features.shape[1] != num_features == features.shape[3]
