"""Transformer block on the last block's tokens, CLS and patches together, then a linear map to the teacher's widths.

x = [CLS, patches];  x ← x + γ1 ∘ Attention(LN(x));  x ← x + γ2 ∘ MLP(LN(x));  z_0 = W_c x_0 + b_c;  z_i = W_p x_i + b_p

DUNE (arXiv 2503.14405): with attention each token of the teacher can draw on all tokens of the student. Layer scale γ
begins at 1e-4, so the projector begins as a linear one. Heads have 64 channels; the MLP is 4 times as wide as the
student.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from unic.errors import InputError
from unic.kinds import Widths
from unic.tokens import Tokens, tokens_of

_HEAD_DIM = 64


class Projector(nn.Module):
    """One pre-norm block; reads only the deepest block of the student that it is given.

    Args:
        rung_dims: widths of CLS and patches at each block that is read, shallow to deep. Patches whose width is not
            that of CLS (some CNNs) are mapped to it first.
        output_dims: widths of the teacher's CLS and patches. What has width 0 does not come out, though the other
            still attends to it.
        width: the student's width.
        layer_scale: first value of γ, above 0; None: no γ.
    """

    reads_last = True

    def __init__(
        self,
        rung_dims: Sequence[Widths],
        output_dims: Widths,
        width: int,
        *,
        layer_scale: float | None = 1e-4,
    ) -> None:
        super().__init__()
        if layer_scale is not None and not 0 < layer_scale < math.inf:
            raise InputError(f"recipe: 'projector.layer_scale' must be finite and above 0 (got {layer_scale})")
        dim, patch_dim = rung_dims[-1]
        self.enter = nn.Linear(patch_dim, dim) if patch_dim != dim else None
        self.block = Block(dim, _num_heads(dim), qkv_bias=True, init_values=layer_scale)
        self.cls = nn.Linear(dim, output_dims[0]) if output_dims[0] else None
        self.patch = nn.Linear(dim, output_dims[1]) if output_dims[1] else None
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def output_layers(self) -> dict[str, list[nn.Linear]]:
        """The linear layers whose outputs are CLS and patches."""
        return {kind: [layer] for kind, layer in (("cls", self.cls), ("patch", self.patch)) if layer}

    def forward(self, rungs: Sequence[Tokens]) -> Tokens:
        last = rungs[-1]
        x = self._mix(last.cls, last.patches)
        cls = self.cls(x[:, 0]).float() if self.cls else None
        return tokens_of(cls, self.patch(x[:, 1:]).float() if self.patch else None, last.grid)

    def _mix(self, cls: Float[Tensor, "b d"], patches: Float[Tensor, "b n e"]) -> Float[Tensor, "b m d"]:
        """CLS and, where there are any, patches after the block."""
        tokens = [cls[:, None]]
        if patches.shape[1]:
            tokens.append(self.enter(patches) if self.enter else patches)
        return self.block(torch.cat(tokens, dim=1))


def _num_heads(dim: int) -> int:
    """So many heads that each has about 64 channels; their number divides the width."""
    return next(heads for heads in range(max(dim // _HEAD_DIM, 1), 0, -1) if dim % heads == 0)
