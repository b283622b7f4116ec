"""Ladder of projectors: z = Σ_l W2_l · GELU(W1_l · x_l + b1_l) + b2_l over the student's blocks l.

UNIC (arXiv 2408.05088), §3.2. CLS and patches have a ladder each, unless it is `shared`. A ladder on the last block
alone is the paper's plain "expendable projector". Tokens of blocks are read without a norm. With `norm: pre` each token
is normalised first, to mean 0 and deviation 1 over its channels. This LayerNorm has no parameters: W1 and b1 contain
what they would do.

For teacher t it is computed as z_t = [W2_t1 … W2_tL] · concat_l GELU(W1_tl x_l + b1_tl) + Σ_l b2_tl; on CLS the W1_tl
of all teachers are one product as well. The parameters stay those of single rungs, so checkpoints do not depend on this
form, and each bias has its own state in the optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unic.kinds import Widths
from unic.projectors._hidden import hidden_width
from unic.projectors._shared import is_shared
from unic.tokens import Tokens, tokens_of


class Rung(nn.Module):
    """The parameters of a two-layer MLP on the tokens of one block; `climb` computes it."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, out_dim)
        for layer in (self.fc1, self.fc2):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)


class Ladder(nn.Module):
    """The sum of one rung per block, for one token type."""

    def __init__(self, in_dims: Sequence[int], hidden_dims: Sequence[int], out_dim: int) -> None:
        super().__init__()
        self.rungs = nn.ModuleList(
            Rung(in_dim, hidden_dim, out_dim) for in_dim, hidden_dim in zip(in_dims, hidden_dims, strict=True)
        )

    def parts(self) -> list[Rung]:
        return [rung for rung in self.rungs if isinstance(rung, Rung)]

    def last_layers(self) -> list[nn.Linear]:
        return [rung.fc2 for rung in self.parts()]

    def sum_up(self, hidden: Sequence[Float[Tensor, "*n _"]]) -> Float[Tensor, "*n e"]:
        """Sum of the second layers of the rungs, as one matrix product; float32 on every device.

        Args:
            hidden: outputs of the first layers, one for each rung; if there are fewer, those of the deepest rungs.
        """
        layers = self.last_layers()[-len(hidden) :]
        # Not `stack(…).sum(0)`: all biases would share one gradient tensor, into which accumulation writes in place.
        biases: list[Tensor] = [layer.bias for layer in layers]
        bias = reduce(torch.add, biases)
        weight = torch.cat([_rounded(layer.weight) for layer in layers], dim=1)
        return F.linear(torch.cat(list(hidden), dim=-1), weight, bias).float()


def climb(ladders: Sequence[Ladder], xs: Sequence[Float[Tensor, "*n _"]]) -> list[Float[Tensor, "*n _"]]:
    """The outputs of several ladders for the same tokens.

    Args:
        ladders: one for each teacher, on the same blocks.
        xs: tokens of each block that is read, shallow to deep; of fewer blocks, only the deepest rungs are used.
    """
    if not ladders:
        return []
    hidden: list[list[Tensor]] = [[] for _ in ladders]
    for rungs, x in zip(zip(*(ladder.parts()[-len(xs) :] for ladder in ladders), strict=True), xs, strict=True):
        for of_ladder, part in zip(hidden, _first_layers(rungs, _rounded(x)), strict=True):
            of_ladder.append(F.gelu(part))
    return [ladder.sum_up(of_ladder) for ladder, of_ladder in zip(ladders, hidden, strict=True)]


def _first_layers(rungs: Sequence[Rung], x: Float[Tensor, "*n d"]) -> Sequence[Float[Tensor, "*n _"]]:
    if x.ndim > 2:  # patches: each product is large already, so splitting a stacked one costs more than it saves
        return [rung.fc1(x) for rung in rungs]
    weight = torch.cat([_rounded(rung.fc1.weight) for rung in rungs])
    bias = torch.cat([rung.fc1.bias for rung in rungs])
    return F.linear(x, weight, bias).split([rung.fc1.out_features for rung in rungs], dim=-1)


def _rounded(x: Tensor) -> Tensor:
    """`x` as autocast would round it before a product; done early to round only once, and before copies are made."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


class Projector(nn.Module):
    """Two ladders, one for CLS and one for patches, or one for both.

    Args:
        rung_dims: widths of CLS and patches at each block that is read, shallow to deep.
        output_dims: widths of the teacher's CLS and patches; what has width 0 has no ladder.
        width: the student's width.
        hidden_dim: hidden width of inner rungs; default: `width` (768 for ViT-B, as in the paper).
        last_hidden_dim: hidden width of the last rung; default: `4 * width` (3072 for ViT-B).
        norm: "pre" normalises each token before its rung.
        shared: one ladder for CLS and patches.
    """

    def __init__(
        self,
        rung_dims: Sequence[Widths],
        output_dims: Widths,
        width: int,
        *,
        hidden_dim: int | None = None,
        last_hidden_dim: int | None = None,
        norm: Literal["none", "pre"] = "none",
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.has_norm, self.is_shared = norm == "pre", is_shared(shared, rung_dims, output_dims)
        inner = hidden_width("hidden_dim", hidden_dim, width)
        last = hidden_width("last_hidden_dim", last_hidden_dim, 4 * width)
        hidden = [inner] * (len(rung_dims) - 1) + [last]
        self.cls = Ladder([dims[0] for dims in rung_dims], hidden, output_dims[0]) if output_dims[0] else None
        own_patch = output_dims[1] and not self.is_shared
        self.patch = Ladder([dims[1] for dims in rung_dims], hidden, output_dims[1]) if own_patch else None

    def of_patches(self) -> Ladder | None:
        return self.cls if self.is_shared else self.patch

    def extra_repr(self) -> str:
        return "norm=pre" if self.has_norm else ""

    def output_layers(self) -> dict[str, list[nn.Linear]]:
        """The linear layers whose outputs are summed to CLS and to patches; none where both go through the same."""
        ladders = {} if self.is_shared else {"cls": self.cls, "patch": self.patch}
        return {kind: ladder.last_layers() for kind, ladder in ladders.items() if ladder}

    @staticmethod
    def together(projectors: Sequence[Projector], rungs: Sequence[Tokens]) -> list[Tokens]:
        """The same as `[projector(rungs) for projector in projectors]`, computed in fewer and larger products."""
        if projectors[0].has_norm:  # options are the same for all teachers
            rungs = [Tokens(_normalised(rung.cls), _normalised(rung.patches), rung.grid) for rung in rungs]
        own = [(projector.cls, projector.of_patches()) for projector in projectors]
        cls = iter(climb([of_cls for of_cls, _ in own if of_cls], [rung.cls for rung in rungs]))
        patches = iter(climb([of_patches for _, of_patches in own if of_patches], [rung.patches for rung in rungs]))
        return [
            tokens_of(next(cls) if of_cls else None, next(patches) if of_patches else None, rungs[-1].grid)
            for of_cls, of_patches in own
        ]

    def forward(self, rungs: Sequence[Tokens]) -> Tokens:
        return self.together([self], rungs)[0]


def _normalised(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    return F.layer_norm(x, x.shape[-1:])
