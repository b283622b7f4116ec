"""How wide a ladder suits a student: the rule by which `unic init` chooses, and by which a wider one is warned of."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unic.projectors import Dims, build_projector

TIMES_STUDENT = 4  # so many times the student's parameters may the projectors of all teachers have together
_STEP = 64  # widths are multiples of it


def num_parameters(rung_dims: Sequence[Dims], output_dims: Sequence[Dims], width: int, hidden_dim: int) -> int:
    """Parameters of the ladders of all teachers.

    Args:
        rung_dims: widths of the student's tokens (CLS, patches) at each block that is read.
        output_dims: widths of each teacher's tokens.
        width: the student's width.
        hidden_dim: of inner rungs; the last one has four times as much.
    """
    options = {"hidden_dim": hidden_dim, "last_hidden_dim": 4 * hidden_dim}
    with torch.device("meta"):
        ladders = [build_projector("ladder", rung_dims, dims, width, dict(options)) for dims in output_dims]
    return sum(parameter.numel() for ladder in ladders for parameter in ladder.parameters())


def suited_width(rung_dims: Sequence[Dims], output_dims: Sequence[Dims], width: int, student_parameters: int) -> int:
    """The hidden width: the largest multiple of 64, at most the student's width, with which the projectors of all
    teachers have at most `TIMES_STUDENT` times the student's parameters; 64 where none has.

    The paper's setting (ViT-B/16, four teachers of its width) stays as it is: 768. Arguments as of `num_parameters`.
    """
    most = TIMES_STUDENT * student_parameters
    for hidden_dim in range(width - width % _STEP, _STEP, -_STEP):
        if num_parameters(rung_dims, output_dims, width, hidden_dim) <= most:
            return hidden_dim
    return _STEP
