"""The teachers' tokens on the student's grid, computed live. (`teacher_cache` reads stored ones.)"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unic.data.batch import Batch
from unic.encoders import Encoder
from unic.encoders.base import resize
from unic.tokens import Grid, Tokens
from unic.training.resolutions import Resolutions


@runtime_checkable
class Outputs(Protocol):
    """The teachers' tokens of a batch, `{teacher: Tokens}`, on the student's grid."""

    def __call__(
        self, images: Float[Tensor, "b 3 h w"], index: Int[Tensor, "b"], view: Int[Tensor, "b"]
    ) -> dict[str, Tokens]: ...


@runtime_checkable
class Teachers(Outputs, Protocol):
    """The teachers as training uses them."""

    def ahead(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; teachers may read ahead for the coming ones."""
        ...


class LiveTeachers:
    """Runs every teacher on the view that the student sees, resized once for each size that teachers take.

    Args:
        encoders: frozen; their weights are rounded to what bf16 uses of them (`Encoder.round_weights`).
        grid: the student's.
        resolutions: for views of several sizes; says which teachers see them as they are.
        compile: run the teachers that can (`Encoder.can_compile`) through torch.compile.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        grid: Grid,
        resolutions: Resolutions | None = None,
        *,
        compile: bool = False,
    ) -> None:
        self.encoders = {name: encoder.round_weights() for name, encoder in encoders.items()}
        self.grid, self.resolutions = grid, resolutions or Resolutions()
        self._run = {
            name: torch.compile(each) if compile and each.can_compile else each for name, each in self.encoders.items()
        }

    @torch.no_grad()  # not inference mode: the losses keep their targets for the backward pass
    def __call__(self, images: Tensor, index: Tensor, view: Tensor) -> dict[str, Tokens]:
        size, taken = (images.shape[-2], images.shape[-1]), self.resolutions.taken
        seen = {name: size if size in taken.get(name, ()) else one.input_size for name, one in self.encoders.items()}
        views = {side: resize(images, side) for side in set(seen.values())}
        grid = self.resolutions.grids.get(size, self.grid)
        return {name: run(views[seen[name]], seen[name]).to_grid(grid) for name, run in self._run.items()}

    def ahead(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        return batches
