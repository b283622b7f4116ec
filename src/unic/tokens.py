"""What every encoder returns: one CLS vector and a grid of patch vectors per image, and how two grids are matched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError

Grid = tuple[int, int]


@dataclass(frozen=True)
class Tokens:
    """Tokens of a batch.

    Attributes:
        cls: `(B, D)`; the widths of `cls` and `patches` may differ (a CNN's pooled vector and its map).
        patches: `(B, N, E)`, row by row; `N = grid[0] * grid[1]`.
        grid: rows and columns of the patches.

    CLS or patches may be left out; their width is 0 then.

    Raises:
        InputError: there are more or fewer patches than the grid has cells.
    """

    cls: Float[Tensor, "b d"]
    patches: Float[Tensor, "b n e"]
    grid: Grid

    def __post_init__(self) -> None:
        rows, columns = self.grid
        if self.patches.shape[1] != rows * columns:
            raise InputError(
                f"tokens: the patches have the shape {tuple(self.patches.shape)}; expected {rows * columns} of them, "
                f"{rows} rows x {columns} columns"
            )

    def patch_mean(self) -> Float[Tensor, "b e"]:
        return self.patches.mean(dim=1)

    def float(self) -> Tokens:
        return Tokens(self.cls.float(), self.patches.float(), self.grid)

    def to_grid(self, grid: Grid) -> Tokens:
        """The same tokens with their patches resized to `grid`: the one place where grids are matched. Tokens without
        patches stay as they are."""
        if self.grid == (0, 0):
            return self
        return Tokens(self.cls, resize_patches(self.patches, self.grid, grid), grid)


def side_by_side(levels: Sequence[Tokens]) -> Tokens:
    """The channels of several tokens of the same images, on the grid of the last."""
    grid = levels[-1].grid
    cls = torch.cat([level.cls for level in levels], dim=1)
    return Tokens(cls, torch.cat([level.to_grid(grid).patches for level in levels], dim=2), grid)


def without_patches(cls: Float[Tensor, "b d"]) -> Tokens:
    """Tokens of CLS alone: no patches, on a grid of 0 × 0."""
    return Tokens(cls, cls.new_empty(cls.shape[0], 0, 0), (0, 0))


def without_cls(patches: Float[Tensor, "b n e"], grid: Grid) -> Tokens:
    """Tokens of patches alone: a CLS of width 0."""
    return Tokens(patches.new_empty(patches.shape[0], 0), patches, grid)


def tokens_of(cls: Float[Tensor, "b d"] | None, patches: Float[Tensor, "b n e"] | None, grid: Grid) -> Tokens:
    """Tokens of CLS, of patches, or of both."""
    if patches is None:
        assert cls is not None
        return without_patches(cls)
    return without_cls(patches, grid) if cls is None else Tokens(cls, patches, grid)


def resize_patches(patches: Float[Tensor, "b n e"], old: Grid, new: Grid) -> Float[Tensor, "b m e"]:
    """Resizes a grid of vectors (bilinear, anti-aliased): a finer grid is averaged, a coarser one interpolated.

    With `antialias` the kernel widens with the reduction factor, which makes the reduction by an integer factor
    a weighted mean of every source cell (no cell is skipped). Computed in float32.
    """
    if old == new:
        return patches
    with torch.autocast(patches.device.type, enabled=False):
        return (_resizing(old, new, patches.device) @ patches.float()).to(patches.dtype)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the cached matrix may later be used with gradients
def _resizing(old: Grid, new: Grid, device: torch.device) -> Float[Tensor, "m n"]:
    """The resize as a matrix, with a column for each old cell. A product is cheaper than the kernel on maps."""
    cells = torch.eye(old[0] * old[1]).unflatten(1, (1, *old))
    resized = F.interpolate(cells, size=new, mode="bilinear", antialias=True, align_corners=False)
    return resized.flatten(1).T.contiguous().to(device)


def map_of(patches: Float[Tensor, "b n e"], grid: Grid) -> Float[Tensor, "b e h w"]:
    return patches.transpose(1, 2).unflatten(2, grid)


def patches_of(features: Float[Tensor, "b e h w"]) -> Float[Tensor, "b n e"]:
    return features.flatten(2).transpose(1, 2)
