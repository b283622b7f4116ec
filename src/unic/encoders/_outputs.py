"""Tokens from the output of a foreign module: from its named parts if it has them, else by the rank of the tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unic.tokens import Grid, Tokens, patches_of

# Keys of CLS and patches in the outputs of DINOv2 and DINOv3, and of C-RADIO.
_NAMES = (("x_norm_clstoken", "x_norm_patchtokens"), ("summary", "features"))
_COARSER = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class OutputReader:
    """Splits outputs into CLS and patches.

    Attributes:
        input_size: height and width of the module's input.
        patch_size: stride of its first layer, if known. The last stage of a pyramid is 2 to 16 times coarser.
        num_prefix_tokens: number of tokens before the patches, class token first; None: all that exceed the grid.
    """

    input_size: tuple[int, int]
    patch_size: tuple[int, int] | None = None
    num_prefix_tokens: int | None = None

    def read(self, output: Any) -> tuple[Tokens, bool]:
        """The tokens, and whether `cls` comes from the module (True) or is the mean of the patches (False).

        Raises:
            ValueError: the output has no known form.
        """
        cls, patches = _parts(output)
        if patches is None:
            assert cls is not None
            return Tokens(cls, cls[:, None], (1, 1)), True
        num_prefix, grid = 0, tuple(patches.shape[2:])
        if patches.ndim == 4:
            patches = patches_of(patches)
        elif patches.ndim != 3:
            raise ValueError(f"its output has the shape {tuple(patches.shape)}; expected rank 2, 3 or 4")
        elif cls is not None:
            grid = self.grid(patches.shape[1])
        else:
            num_prefix, grid = self.split(patches.shape[1])
            cls = patches[:, 0] if num_prefix else None
            patches = patches[:, num_prefix:]
        return Tokens(patches.mean(dim=1) if cls is None else cls, patches, (grid[0], grid[1])), cls is not None

    def split(self, num_tokens: int) -> tuple[int, Grid]:
        """Number of tokens before the patches, and grid of the patches."""
        if self.num_prefix_tokens is not None:
            return self.num_prefix_tokens, self.grid(num_tokens - self.num_prefix_tokens)
        for grid in self._strided():
            if grid[0] * grid[1] <= num_tokens:
                return num_tokens - grid[0] * grid[1], grid
        for num_prefix in (1, 0):
            found = self._proportional(num_tokens - num_prefix)
            if found:
                return num_prefix, found
        raise ValueError(f"its {num_tokens} tokens form no grid, with or without a class token; set num_prefix_tokens")

    def grid(self, num_patches: int) -> Grid:
        """Rows and columns of that many patches."""
        for grid in self._strided():
            if grid[0] * grid[1] == num_patches:
                return grid
        found = self._proportional(num_patches)
        if found is None:
            raise ValueError(f"its {num_patches} patches form no grid over {self.input_size[0]}x{self.input_size[1]}")
        return found

    def _strided(self) -> list[Grid]:
        """Grids that agree with the patch size, the finest first."""
        if self.patch_size is None:
            return []
        (height, width), (rows, columns) = self.input_size, self.patch_size
        grids = [(height // (rows * times), width // (columns * times)) for times in _COARSER]
        return [grid for grid in grids if min(grid)]

    def _proportional(self, num_patches: int) -> Grid | None:
        """The grid of that many square patches over the input; None if they form none."""
        height, width = self.input_size
        rows = round((max(num_patches, 0) * height / width) ** 0.5)
        columns = num_patches // rows if rows else 0
        return (rows, columns) if rows * columns == num_patches > 0 and rows * width == columns * height else None


def _parts(output: Any) -> tuple[Tensor | None, Tensor | None]:
    """CLS and patches, or one of the two."""
    if isinstance(output, Mapping):
        for cls, patches in _NAMES:
            if isinstance(output.get(patches), Tensor):
                return output.get(cls), output[patches]
        if not isinstance(output.get("last_hidden_state"), Tensor):
            known = ", ".join(patches for _, patches in _NAMES)
            raise ValueError(f"its output has the parts {', '.join(output)}; expected {known} or last_hidden_state")
        output = output["last_hidden_state"]
    if isinstance(output, Sequence) and [getattr(part, "ndim", 0) for part in output] in ([2, 3], [2, 4]):
        return output[0], output[1]
    if not isinstance(output, Tensor):
        raise ValueError(f"its output is a {type(output).__name__}; expected a tensor, CLS and patches, or a dict")
    return (output, None) if output.ndim == 2 else (None, output)
