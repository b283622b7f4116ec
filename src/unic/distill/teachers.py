"""The frozen side: every teacher's tokens on the student's grid, computed live (`teacher_cache` reads stored ones)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unic.encoders import Encoder
from unic.encoders.base import resize
from unic.tokens import Grid, Tokens


class Teachers(Protocol):
    """Targets of a batch, `{teacher: Tokens}`, on the student's grid."""

    def __call__(
        self, images: Float[Tensor, "b 3 h w"], index: Int[Tensor, "b"], view: Int[Tensor, "b"]
    ) -> dict[str, Tokens]: ...


class LiveTeachers:
    """Runs every teacher on the very view that the student sees, resized once for each size that teachers take.

    Args:
        encoders: frozen; their weights are rounded to what bf16 uses of them (`Encoder.round_weights`).
        grid: the student's.
        compile: run them through torch.compile.
    """

    def __init__(self, encoders: Mapping[str, Encoder], grid: Grid, *, compile: bool = False) -> None:
        self.encoders = {name: encoder.round_weights() for name, encoder in encoders.items()}
        self.grid = grid
        self._run = {name: torch.compile(each) if compile else each for name, each in self.encoders.items()}

    @torch.no_grad()  # not inference mode: the losses keep their targets for the backward pass
    def __call__(self, images: Tensor, index: Tensor, view: Tensor) -> dict[str, Tokens]:
        views = {size: resize(images, size) for size in {each.input_size for each in self.encoders.values()}}
        return {name: run(views[self.encoders[name].input_size]).to_grid(self.grid) for name, run in self._run.items()}
