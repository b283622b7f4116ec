"""`Loss`, the base class of the losses with options or a state. A loss without either may be a plain function.

Both are called alike: `loss(prediction, target) -> (B,)`, with the tokens of a micro-batch in float32, `(B, D)` of CLS
and `(B, N, D)` of patches. With nested widths a loss is called once for each width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from unic.finite_updates import update_if_finite
from unic.kinds import KINDS, Kind, Widths
from unic.ranks import has_ranks

Dims = Widths
"""The name of `Widths` in losses of one's own."""


class Loss(nn.Module):
    """A loss to one teacher. A file of this folder holds a subclass of the same name; its keyword-only arguments are
    options.

    A loss with a state keeps it in buffers, which are saved in checkpoints. `forward` changes nothing; `update` changes
    the state once in each step that learns. So neither micro-batches nor processes change the state, and a trial leaves
    no trace. A loss has no parameters and draws no random numbers. Nothing in it may wait for the device (`item`,
    `bool` of a tensor, …).

    Args:
        dims: widths of the teacher's CLS and patches; 0 for what it is not matched by, which is not compared.

    Attributes:
        kinds: the tokens that it compares; it is called with no others.
        needs_whole_batch: an image's value depends on other images of the batch: no `train.micro_batches`, and each
            process has equally many images.
        shift: in training the student sees each image moved by up to so many patches, drawn anew each step, and all
            losses compare the patches that student and teacher both see.
    """

    kinds: ClassVar[tuple[Kind, ...]] = KINDS
    needs_whole_batch: ClassVar[bool] = False
    shift: int = 0

    def __init__(self, dims: Widths) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, prediction: Float[Tensor, "b *n d"], target: Float[Tensor, "b *n d"]) -> Float[Tensor, "b"]:
        """One value for each image, with gradient with respect to `prediction`; 0 at the target.

        Args:
            prediction: output of the teacher's projector for the student's tokens.
            target: the teacher's tokens, standardised.
        """
        raise NotImplementedError

    def update(self, cls: Float[Tensor, "b d"]) -> None:
        """Changes the state at the end of a step.

        Args:
            cls: targets of the whole global batch, in its order.
        """

    def end_step(self, cls: Float[Tensor, "b d"]) -> None:
        """`update`, unless a target is not finite: such a step leaves the state as it is."""
        update_if_finite(self, self.update, cls)


def gathered(rows: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "n d"], int]:
    """The rows of all processes, which have equally many, without gradient; and the place of the first own one."""
    rows = rows.detach()
    if not has_ranks():
        return rows, 0
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows)
    return torch.cat(parts), dist.get_rank() * len(rows)


class OfFunction(Loss):
    """A loss that is a plain function, `loss(prediction, target) -> (B,)`."""

    def __init__(self, dims: Widths, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(dims)
        self.function = function

    def forward(self, prediction: Float[Tensor, "b *n d"], target: Float[Tensor, "b *n d"]) -> Float[Tensor, "b"]:
        return self.function(prediction, target)
