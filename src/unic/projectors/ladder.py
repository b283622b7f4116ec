"""Ladder of projectors: z = Σ_l W2_l · GELU(W1_l · x_l + b1_l) + b2_l over the student's blocks l.

UNIC (arXiv 2408.05088), §3.2. CLS and patches have a ladder each and share no weights. A ladder on the last block alone
is the paper's plain "expendable projector". Tokens of blocks are read without a norm.

For teacher t it is computed as z_t = [W2_t1 … W2_tL] · concat_l GELU(W1_tl x_l + b1_tl) + Σ_l b2_tl; on CLS the W1_tl
of all teachers are one product as well. The parameters stay those of single rungs, so checkpoints do not depend on this
form, and each bias has its own state in the optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unic.tokens import Tokens, without_patches


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
        """Sum of the second layers of all rungs, as one matrix product; float32 on every device."""
        layers = self.last_layers()
        # Not `stack(…).sum(0)`: all biases would share one gradient tensor, into which accumulation writes in place.
        biases: list[Tensor] = [layer.bias for layer in layers]
        bias = reduce(torch.add, biases)
        weight = torch.cat([_rounded(layer.weight) for layer in layers], dim=1)
        return F.linear(torch.cat(list(hidden), dim=-1), weight, bias).float()


def climb(ladders: Sequence[Ladder], xs: Sequence[Float[Tensor, "*n _"]]) -> list[Float[Tensor, "*n _"]]:
    """The outputs of several ladders for the same tokens.

    Args:
        ladders: one for each teacher, on the same blocks.
        xs: tokens of each block that is read, shallow to deep.
    """
    hidden: list[list[Tensor]] = [[] for _ in ladders]
    for rungs, x in zip(zip(*(ladder.parts() for ladder in ladders), strict=True), xs, strict=True):
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
    """Two ladders, one for CLS and one for patches.

    Args:
        rung_dims: widths of CLS and patches at each block that is read, shallow to deep.
        output_dims: widths of the teacher's CLS and patches; a patch width of 0: no ladder for patches.
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

    @staticmethod
    def together(projectors: Sequence[Projector], rungs: Sequence[Tokens]) -> list[Tokens]:
        """The same as `[projector(rungs) for projector in projectors]`, computed in fewer and larger products."""
        cls = climb([projector.cls for projector in projectors], [rung.cls for rung in rungs])
        ladders = [projector.patch for projector in projectors if projector.patch]
        if not ladders:
            return [without_patches(of_teacher) for of_teacher in cls]
        patches = climb(ladders, [rung.patches for rung in rungs])
        return [Tokens(*pair, rungs[-1].grid) for pair in zip(cls, patches, strict=True)]

    def forward(self, rungs: Sequence[Tokens]) -> Tokens:
        return self.together([self], rungs)[0]
