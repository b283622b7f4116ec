"""The hidden width of a ladder that suits a student, for `unic init` and for the warning about wider ladders."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unic.kinds import Widths
from unic.projectors import build_projector

TIMES_STUDENT = 4  # largest number of parameters of all projectors together, in times those of the student
_STEP = 64  # widths are multiples of this


def num_parameters(rung_dims: Sequence[Widths], output_dims: Sequence[Widths], width: int, hidden_dim: int) -> int:
    """Number of parameters of the ladders of all teachers.

    Args:
        rung_dims: widths of the student's tokens (CLS, patches) at each block that is read.
        output_dims: widths of each teacher's tokens.
        width: the student's width.
        hidden_dim: hidden width of inner rungs; the last rung has four times as much.
    """
    options = {"hidden_dim": hidden_dim, "last_hidden_dim": 4 * hidden_dim}
    with torch.device("meta"):
        ladders = [build_projector("ladder", rung_dims, dims, width, dict(options)) for dims in output_dims]
    return sum(parameter.numel() for ladder in ladders for parameter in ladder.parameters())


def suited_width(
    rung_dims: Sequence[Widths], output_dims: Sequence[Widths], width: int, student_parameters: int
) -> int:
    """The largest hidden width with which the projectors of all teachers have at most `TIMES_STUDENT` times the
    student's parameters.

    It is a multiple of 64, at least 64 and at most the student's width. For the paper's setting (ViT-B/16, four
    teachers of its width) it is 768, as in the paper.

    Args:
        rung_dims: see `num_parameters`.
        output_dims: see `num_parameters`.
        width: the student's width.
        student_parameters: number of the student's parameters.
    """
    most = TIMES_STUDENT * student_parameters
    for hidden_dim in range(width - width % _STEP, _STEP, -_STEP):
        if num_parameters(rung_dims, output_dims, width, hidden_dim) <= most:
            return hidden_dim
    return _STEP
