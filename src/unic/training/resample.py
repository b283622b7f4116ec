"""Trained tensors of one stage in the shapes of the next: position embeddings are resampled to another grid.

UNIC-L trains at 224 px and then at 336 px (arXiv 2408.05088).
"""

from __future__ import annotations

from collections.abc import Mapping

from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from unic.errors import InputError
from unic.tokens import Grid

_POSITIONS = "student.model.pos_embed"


def resampled(tensors: Mapping[str, Tensor], distiller: nn.Module, old_grid: Grid, grid: Grid) -> dict[str, Tensor]:
    """The tensors of one stage in the shapes of the next.

    Args:
        tensors: the earlier distiller's state, whole.
        distiller: distiller of the next stage.
        old_grid: the patch grid of the student that was trained.
        grid: that of the next stage.

    Raises:
        InputError: the stages differ in more than sizes.
    """
    wanted, found = distiller.state_dict(), dict(tensors)
    old = found.get(_POSITIONS)
    if old is not None and _POSITIONS in wanted and old.shape != wanted[_POSITIONS].shape:
        prefix = old.shape[1] - old_grid[0] * old_grid[1]  # class token and registers, where they have positions
        found[_POSITIONS] = resample_abs_pos_embed(old, list(grid), list(old_grid), num_prefix_tokens=prefix)
    for name in wanted | found:
        if name not in found or name not in wanted or found[name].shape != wanted[name].shape:
            raise InputError(
                f"recipe: stages: parameter '{name}' changes shape in the next stage; stages may change image sizes "
                "only"
            )
    return found
