"""One linear layer on the last block: the smallest projector, a baseline for the ladder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from unic.tokens import Tokens, without_patches


class Projector(nn.Module):
    """A linear map for CLS and one for patches; reads only the deepest of the given blocks.

    Args:
        rung_dims: widths of CLS and patches at each block that is read, shallow to deep.
        output_dims: widths of the teacher's CLS and patches; a patch width of 0: no map for patches.
        width: unused.
    """

    def __init__(self, rung_dims: Sequence[tuple[int, int]], output_dims: tuple[int, int], width: int) -> None:
        super().__init__()
        self.cls = nn.Linear(rung_dims[-1][0], output_dims[0])
        self.patch = nn.Linear(rung_dims[-1][1], output_dims[1]) if output_dims[1] else None
        for layer in filter(None, (self.cls, self.patch)):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def output_layers(self) -> dict[str, list[nn.Linear]]:
        """The linear layers whose outputs are summed to CLS and to patches."""
        layers = {"cls": [self.cls]}
        return layers | {"patch": [self.patch]} if self.patch else layers

    def forward(self, rungs: Sequence[Tokens]) -> Tokens:
        last = rungs[-1]
        cls = self.cls(last.cls).float()
        return Tokens(cls, self.patch(last.patches).float(), last.grid) if self.patch else without_patches(cls)
