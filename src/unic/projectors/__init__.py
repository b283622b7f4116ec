"""Projectors: each file holds a class `Projector` that maps the student's tokens to one teacher's.

What such a class must offer, and what it may: docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from unic import lookup
from unic.errors import InputError
from unic.kinds import Widths
from unic.recipe.base import Component
from unic.tokens import Tokens


def build_projectors(
    setting: Component, block_dims: Sequence[Widths], width: int, output_dims: Mapping[str, Widths]
) -> tuple[list[int], dict[str, nn.Module]]:
    """The projectors of a student.

    Args:
        setting: the recipe's `projector`.
        block_dims: widths of the student's tokens at each of its blocks.
        width: the student's width.
        output_dims: widths of the teachers' CLS and patches, by teacher.

    Returns:
        The indices of the blocks that are read, and the projectors by teacher.

    Raises:
        InputError: as of `build_projector` and `choose_blocks`.
    """
    options = setting.options
    blocks = choose_blocks(options.pop("blocks", "all"), len(block_dims))
    rung_dims = [block_dims[block] for block in blocks]
    return blocks, {
        teacher: build_projector(setting.type, rung_dims, dims, width, options) for teacher, dims in output_dims.items()
    }


def build_projector(
    name: str, rung_dims: Sequence[Widths], output_dims: Widths, width: int, options: dict[str, Any]
) -> nn.Module:
    """A projector `list[Tokens] -> Tokens` of one teacher.

    Args:
        name: a file of this package, or a dotted path.
        rung_dims: widths of the student's tokens at each block that is read, shallow to deep.
        output_dims: widths of the teacher's CLS and patches; what has width 0 the projector does not return.
        width: the student's width, to which hidden layers are proportional by default.
        options: the other keys of the recipe's `projector`.

    Raises:
        InputError: unknown projector or option, or widths that the projector cannot map.
    """
    return lookup.component("projector", name, options, nn.Module)(rung_dims, output_dims, width, **options)


def project(projectors: Sequence[nn.Module], rungs: Sequence[Tokens]) -> list[Tokens]:
    """The student's tokens in the space of every teacher.

    If all projectors have one class with a method `together(projectors, rungs)`, it computes them all at once.

    Args:
        projectors: one for each teacher.
        rungs: the student's tokens at each block that is read, shallow to deep.
    """
    kinds = {type(projector) for projector in projectors}
    together = getattr(kinds.pop(), "together", None) if len(kinds) == 1 else None
    if any(hasattr(projector, "unshard") for projector in projectors):  # FSDP gathers weights in a module's own forward
        together = None
    return together(projectors, rungs) if together else [projector(rungs) for projector in projectors]


def choose_blocks(setting: str | Sequence[int], num_blocks: int) -> list[int]:
    """Sorted indices of the blocks that `projector.blocks` names.

    Args:
        setting: `all`, `last`, or a list of 0-based indices; negative ones count from the end.
        num_blocks: number of the student's blocks.

    Raises:
        InputError: an unknown setting or block, or a list without the last block. The exported output is read there, so
            it has to be trained.
    """
    if setting == "all":
        return list(range(num_blocks))
    if setting == "last":
        return [num_blocks - 1]
    if isinstance(setting, str):
        raise InputError(f"recipe: 'projector.blocks' must be all, last or a list of numbers (got '{setting}')")
    for block in setting:
        if not -num_blocks <= block < num_blocks:
            raise InputError(f"recipe: 'projector.blocks': the student has blocks 0 to {num_blocks - 1} (got {block})")
    chosen = sorted({block % num_blocks for block in setting})
    if num_blocks - 1 not in chosen:
        raise InputError(f"recipe: 'projector.blocks' must include the last block ({num_blocks - 1} or -1)")
    return chosen
