"""One linear layer on the last block: the smallest projector, a baseline for the ladder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from unic.kinds import Widths
from unic.tokens import Tokens, tokens_of


class Projector(nn.Module):
    """A linear map for CLS and one for patches; reads only the deepest of the given blocks.

    Args:
        rung_dims: widths of CLS and patches at each block that is read, shallow to deep.
        output_dims: widths of the teacher's CLS and patches; with a width of 0 there is no map.
        width: unused.
    """

    reads_last = True

    def __init__(self, rung_dims: Sequence[Widths], output_dims: Widths, width: int) -> None:
        super().__init__()
        self.cls = nn.Linear(rung_dims[-1][0], output_dims[0]) if output_dims[0] else None
        self.patch = nn.Linear(rung_dims[-1][1], output_dims[1]) if output_dims[1] else None
        for layer in filter(None, (self.cls, self.patch)):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def output_layers(self) -> dict[str, list[nn.Linear]]:
        """The linear layers whose outputs are summed to CLS and to patches."""
        return {kind: [layer] for kind, layer in (("cls", self.cls), ("patch", self.patch)) if layer}

    def forward(self, rungs: Sequence[Tokens]) -> Tokens:
        last = rungs[-1]
        cls = self.cls(last.cls).float() if self.cls else None
        return tokens_of(cls, self.patch(last.patches).float() if self.patch else None, last.grid)
