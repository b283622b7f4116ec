"""A released ladder of projectors: ŷ = Σ_l (W2_l · GELU(W1_l · x_l + b1_l) + b2_l) · (σ + 1e-6) + μ (docs/method.md).

Names in the released files: `lp.heads.TEACHER.{cls,patch}.BLOCK.layers.{0,2}.{weight,bias}`, and beside the weights
`teacher_ft_stats[TEACHER][{cls,patch}][{mean,std}]`. x_l is the output of block l without a norm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unic.encoders.base import Encoder, Size
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError
from unic.tokens import Grid, Tokens

_KEY = re.compile(r"lp\.heads\.(?P<teacher>.+)\.(?P<kind>cls|patch)\.(?P<block>\d+)\.layers\.(?P<part>.+)")
_PARTS = {"0.weight", "0.bias", "2.weight", "2.bias"}
_EPS = 1e-6


def teachers_of(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the teachers for which a file has ladders."""
    return sorted({found["teacher"] for key in state if (found := _KEY.fullmatch(key))})


class LadderHead(Encoder):
    """The student followed by its ladder for one teacher. Outputs are in the teacher's space, or in its standardised
    space if the file has no statistics.

    Args:
        student: encoder of the student, frozen.
        teacher: name of the teacher in the file.
        state: all weights of the file.
        statistics: `{"cls": {"mean", "std"}, "patch": …}` of that teacher, or None.
        where: start of an error line.
    """

    def __init__(
        self, student: TimmEncoder, teacher: str, state: Mapping[str, Tensor], statistics: Any, where: str
    ) -> None:
        super().__init__(student.mean.flatten().tolist(), student.std.flatten().tolist())
        self.student = student
        student.norm_last = False  # the last rung reads its block without the final norm, like the others
        found = [(match, value) for key, value in state.items() if (match := _KEY.fullmatch(key))]
        found = [(match, value) for match, value in found if match["teacher"] == teacher]
        self.blocks = sorted({int(match["block"]) for match, _ in found})
        self.ladders = nn.ModuleDict()
        for kind in ("cls", "patch"):
            self.ladders[kind], width = _rungs(found, kind, self.blocks, where)
            of_kind = (statistics or {}).get(kind, {})
            self.register_buffer(f"{kind}_mean", of_kind.get("mean", torch.zeros(width)).flatten().float())
            self.register_buffer(f"{kind}_std", of_kind.get("std", torch.ones(width)).flatten().float())
            setattr(self, "embed_dim" if kind == "cls" else "patch_dim", width)
        self.input_size, self.licence, self.has_cls = student.input_size, student.licence, student.has_cls

    def grid_at(self, size: Size) -> Grid | None:
        return self.student.grid_at(size)

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        rungs = self.student.encode_blocks(x, self.blocks)
        cls = self._climb("cls", [rung.cls for rung in rungs])
        return Tokens(cls, self._climb("patch", [rung.patches for rung in rungs]), rungs[0].grid)

    def _climb(self, kind: str, tokens: Sequence[Float[Tensor, "*n _"]]) -> Float[Tensor, "*n d"]:
        ladder = self.ladders[kind]
        assert isinstance(ladder, nn.ModuleList)
        total = torch.stack([mlp(x) for mlp, x in zip(ladder, tokens, strict=True)]).sum(dim=0)
        return total.float() * (getattr(self, f"{kind}_std") + _EPS) + getattr(self, f"{kind}_mean")

    def describe(self) -> str:
        return f"{self.student.describe()} {self.blocks}"


def _rungs(
    found: Sequence[tuple[re.Match[str], Tensor]], kind: str, blocks: Sequence[int], where: str
) -> tuple[nn.ModuleList, int]:
    """One two-layer MLP for each block, and the width of their outputs."""
    ladder, outputs = nn.ModuleList(), 0
    for block in blocks:
        state = {m["part"]: value for m, value in found if m["kind"] == kind and int(m["block"]) == block}
        if state.keys() != _PARTS:
            listed = ", ".join(sorted(state)) or "nothing"
            raise InputError(f"{where}: {kind} ladder, block {block}: expected two layers without norms, not {listed}")
        (hidden, width), outputs = state["0.weight"].shape, len(state["2.weight"])
        mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, outputs))
        mlp.load_state_dict(state)
        ladder.append(mlp)
    return ladder, outputs
