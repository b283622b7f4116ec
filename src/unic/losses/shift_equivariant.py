"""Mean squared error between patches of views that are moved against each other by whole patches.

After the shift equivariant loss of C-RADIOv4 (Ranzinger et al., arXiv 2601.17237): student and teacher see views that
are moved by a few patches, and only the overlap counts. What a teacher writes at a place of its grid whatever the image
shows there is then no longer at one place for the student, who cannot copy it. Patches alone are compared:
ℓ = mean over overlap and channels of (z − y)².

The student's view is moved by at most `shift` patches in each direction (`unic.training.shift`). The teachers' stays,
so that their outputs can be cached. Other losses of the recipe compare the overlap too.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from unic.errors import InputError
from unic.kinds import Widths
from unic.losses import base, mse


class Loss(base.Loss):
    """Mean squared error over the overlap.

    Args:
        dims: widths of the teacher's CLS and patches.
        shift: the largest one, in patches.
    """

    kinds = ("patch",)

    def __init__(self, dims: Widths, *, shift: int = 1) -> None:
        super().__init__(dims)
        if shift < 1:
            raise InputError(f"recipe: 'loss.shift_equivariant.shift' must be at least 1 (got {shift})")
        self.shift = shift

    def forward(self, prediction: Float[Tensor, "b n d"], target: Float[Tensor, "b n d"]) -> Float[Tensor, "b"]:
        return mse.loss(prediction, target)
