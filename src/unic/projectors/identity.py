"""No projector: z = x, the tokens of the student's last block as they are. Student and teacher need equal widths.

The student then learns the teacher's own (standardised) features, channel by channel, as in plain feature
distillation (FitNets, arXiv 1412.6550, without a regressor).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from unic.errors import InputError
from unic.kinds import Widths
from unic.tokens import Tokens, tokens_of


class Projector(nn.Module):
    """The deepest block it is given, without parameters.

    Raises:
        InputError: the widths of student and teacher differ.
    """

    reads_last = True

    def __init__(self, rung_dims: Sequence[Widths], output_dims: Widths, width: int) -> None:
        super().__init__()
        for kind, of_student, of_teacher in zip(("CLS", "patches"), rung_dims[-1], output_dims, strict=True):
            if of_teacher and of_student != of_teacher:
                raise InputError(
                    f"recipe: projector 'identity' needs a student as wide as its teachers; {kind}: {of_student} "
                    f"channels of the student, {of_teacher} of a teacher"
                )
        self.has_cls, self.has_patches = output_dims[0] > 0, output_dims[1] > 0

    def forward(self, rungs: Sequence[Tokens]) -> Tokens:
        last = rungs[-1].float()
        return tokens_of(last.cls if self.has_cls else None, last.patches if self.has_patches else None, last.grid)
