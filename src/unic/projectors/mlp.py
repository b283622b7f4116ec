"""MLP on the last block: z = W2 · GELU(W1 · x + b1) + b2, one for CLS and one for patches.

The usual projector of feature distillation, as in AM-RADIO (arXiv 2312.06709), here without a norm between the layers.
`depth` adds hidden layers of the same width; `shared` uses one MLP for CLS and patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from unic.errors import InputError
from unic.kinds import Widths
from unic.projectors._hidden import hidden_width
from unic.projectors._shared import is_shared
from unic.tokens import Tokens, tokens_of


class Projector(nn.Module):
    """An MLP for CLS and one for patches; reads only the deepest block it is given.

    Args:
        rung_dims: widths of CLS and patches at each block that is read, shallow to deep.
        output_dims: widths of the teacher's CLS and patches; what has width 0 has no MLP.
        width: the student's width.
        hidden_dim: width of the hidden layers; default: `4 * width`.
        depth: number of linear layers, 2 or more.
        shared: one MLP for CLS and patches.
    """

    reads_last = True

    def __init__(
        self,
        rung_dims: Sequence[Widths],
        output_dims: Widths,
        width: int,
        *,
        hidden_dim: int | None = None,
        depth: int = 2,
        shared: bool = False,
    ) -> None:
        super().__init__()
        if depth < 2:
            raise InputError(f"recipe: 'projector.depth' must be 2 or more (got {depth}); for one layer take 'linear'")
        self.is_shared = is_shared(shared, rung_dims[-1:], output_dims)
        hidden = [hidden_width("hidden_dim", hidden_dim, 4 * width)] * (depth - 1)
        self.cls = _mlp([rung_dims[-1][0], *hidden, output_dims[0]]) if output_dims[0] else None
        own_patch = output_dims[1] and not self.is_shared
        self.patch = _mlp([rung_dims[-1][1], *hidden, output_dims[1]]) if own_patch else None

    def output_layers(self) -> dict[str, list[nn.Linear]]:
        """The linear layers whose outputs are summed to CLS and to patches; none where both go through the same."""
        mlps = {} if self.is_shared else {"cls": self.cls, "patch": self.patch}
        return {kind: [mlp[-1]] for kind, mlp in mlps.items() if mlp and isinstance(mlp[-1], nn.Linear)}

    def forward(self, rungs: Sequence[Tokens]) -> Tokens:
        last, patch = rungs[-1], self.cls if self.is_shared else self.patch
        cls = self.cls(last.cls).float() if self.cls else None
        return tokens_of(cls, patch(last.patches).float() if patch else None, last.grid)


def _mlp(dims: Sequence[int]) -> nn.Sequential:
    """Linear layers of these widths with a GELU between any two."""
    layers: list[nn.Module] = []
    for in_dim, out_dim in pairwise(dims):
        linear = nn.Linear(in_dim, out_dim)
        nn.init.trunc_normal_(linear.weight, std=0.02)
        nn.init.zeros_(linear.bias)
        layers += [nn.GELU(), linear]
    return nn.Sequential(*layers[1:])
