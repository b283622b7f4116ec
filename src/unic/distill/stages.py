"""From one stage of a run to the next: weights go over, position embeddings are resampled, the optimiser starts anew.

UNIC-L trains at 224 px and then at 336 px (METHOD §6). Each stage has its own schedules of rate and momentum; steps are
counted through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from unic.config import Recipe
from unic.distill.build import build
from unic.distill.job import Job
from unic.errors import InputError
from unic.tokens import Grid

_POSITIONS = "student.model.pos_embed"


def first_of(plans: Sequence[Recipe], device: torch.device, world_size: int = 1) -> Job:
    """The job of the first stage; the later ones are built before it and let go, so what is wrong there is known now.

    Raises:
        InputError: a stage that cannot run, or cannot take over from the one before.
    """
    later: tuple[nn.Module, Grid] | None = None
    for plan in reversed(plans[1:]):
        later = _try_stage(plan, later, device, world_size)
    first = build(plans[0], device, world_size)
    _check_follows(first, later)
    return first


def _try_stage(
    plan: Recipe, later: tuple[nn.Module, Grid] | None, device: torch.device, world_size: int
) -> tuple[nn.Module, Grid]:
    """Its distiller, as shapes without values, and its grid: two stages need not fit into the memory."""
    job = build(plan, device, world_size)
    _check_follows(job, later)
    return job.distiller.to("meta"), job.own_grid


def _check_follows(job: Job, later: tuple[nn.Module, Grid] | None) -> None:
    if later is not None:
        resampled(job.distiller.state_dict(), later[0], job.own_grid, later[1])


def carry(tensors: Mapping[str, Tensor], distiller: nn.Module, old_grid: Grid, grid: Grid) -> None:
    """Loads what one stage has trained into the distiller of the next. Arguments and errors as for `resampled`."""
    distiller.load_state_dict(resampled(tensors, distiller, old_grid, grid))


def resampled(tensors: Mapping[str, Tensor], distiller: nn.Module, old_grid: Grid, grid: Grid) -> dict[str, Tensor]:
    """The tensors of one stage in the shapes of the next.

    Args:
        tensors: the earlier distiller's state, whole.
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
                f"recipe: stages: '{name}' does not go over to the next stage; only sizes of images may differ"
            )
    return found
