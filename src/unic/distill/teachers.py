"""The frozen side: every teacher's tokens on the student's grid, computed live (`teacher_cache` reads stored ones)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unic.encoders import Encoder
from unic.tokens import Grid, Tokens


class Teachers(Protocol):
    """Targets of a batch, `{teacher: Tokens}`, on the student's grid."""

    def __call__(
        self, images: Float[Tensor, "b 3 h w"], index: Int[Tensor, "b"], view: Int[Tensor, "b"]
    ) -> dict[str, Tokens]: ...


class LiveTeachers:
    """Runs every teacher on the very view that the student sees; each resizes and normalises it in its own way."""

    def __init__(self, encoders: Mapping[str, Encoder], grid: Grid) -> None:
        self.encoders, self.grid = dict(encoders), grid

    @torch.no_grad()  # not inference mode: the losses keep their targets for the backward pass
    def __call__(self, images: Tensor, index: Tensor, view: Tensor) -> dict[str, Tokens]:
        return {name: encoder(images).to_grid(self.grid) for name, encoder in self.encoders.items()}
