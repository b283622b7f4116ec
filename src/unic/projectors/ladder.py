"""Ladder of projectors: z = Σ_l W2_l · GELU(W1_l · x_l + b1_l) + b2_l over the student's blocks l.

UNIC (arXiv 2408.05088), §3.2. One ladder per token type, so CLS and patches never share weights. With the last block
alone it is the plain "expendable projector". Blocks enter as they are, without a norm.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unic.tokens import Tokens, without_patches


class Rung(nn.Module):
    """Two-layer MLP on the tokens of one block."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, out_dim)
        for layer in (self.fc1, self.fc2):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n e"]:
        return self.fc2(self.act(self.fc1(x)))


class Ladder(nn.Module):
    """The sum of one rung per block, for one token type."""

    def __init__(self, in_dims: Sequence[int], hidden_dims: Sequence[int], out_dim: int) -> None:
        super().__init__()
        self.rungs = nn.ModuleList(
            Rung(in_dim, hidden_dim, out_dim) for in_dim, hidden_dim in zip(in_dims, hidden_dims, strict=True)
        )

    def last_layers(self) -> list[nn.Linear]:
        return [rung.fc2 for rung in self.rungs if isinstance(rung, Rung)]

    def forward(self, xs: Sequence[Tensor]) -> Tensor:
        # The sum runs in float32: under bf16 autocast twelve rounded terms would lose the small ones.
        return torch.stack([rung(x).float() for rung, x in zip(self.rungs, xs, strict=True)]).sum(0)


class Projector(nn.Module):
    """Two ladders, one for CLS and one for patches.

    Args:
        rung_dims: widths of CLS and patches at each block that is read, shallow to deep.
        output_dims: widths of the teacher's CLS and patches; 0: no ladder for the patches.
        width: the student's width.
        hidden_dim: hidden width of inner rungs; default: `width` (768 for ViT-B, as in the paper).
        last_hidden_dim: hidden width of the last rung; default: `4 * width` (3072 for ViT-B).
    """

    def __init__(
        self,
        rung_dims: Sequence[tuple[int, int]],
        output_dims: tuple[int, int],
        width: int,
        *,
        hidden_dim: int | None = None,
        last_hidden_dim: int | None = None,
    ) -> None:
        super().__init__()
        hidden = [hidden_dim or width] * (len(rung_dims) - 1) + [last_hidden_dim or 4 * width]
        self.cls = Ladder([dims[0] for dims in rung_dims], hidden, output_dims[0])
        self.patch = Ladder([dims[1] for dims in rung_dims], hidden, output_dims[1]) if output_dims[1] else None

    def output_layers(self) -> dict[str, list[nn.Linear]]:
        """The linear layers whose outputs are summed to CLS and to patches."""
        layers = {"cls": self.cls.last_layers()}
        return layers | {"patch": self.patch.last_layers()} if self.patch else layers

    def forward(self, rungs: Sequence[Tokens]) -> Tokens:
        cls = self.cls([rung.cls for rung in rungs])
        if self.patch is None:
            return without_patches(cls)
        return Tokens(cls, self.patch([rung.patches for rung in rungs]), rungs[-1].grid)
