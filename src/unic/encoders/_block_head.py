"""A released projector of DUNE (arXiv 2503.14405): ŷ = s · (W · B(x) + b) · max(σ, 1e-3) + μ, with x = [CLS, patches].

B is one transformer block or several, on the tokens of the student's last block without a norm and without registers.
s is 1 in the released files. Names in these files, below `projectors.TEACHER`: `blocks.BLOCK.{norm1, attn.qkv,
attn.proj, ls1, norm2, mlp.fc1, mlp.fc2, ls2}`, `linear` and, where it is learned, `scale`. σ and μ are called
`teacher_norms.TEACHER.normalizers.{cls,patch}.{std,mean}`. Teachers that were matched by their patches alone (MASt3R,
Multi-HMR) have no statistics of CLS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial

import torch
from jaxtyping import Float
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from unic.encoders._weights import load_all
from unic.encoders.base import Encoder
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError
from unic.tokens import Tokens

_KEY = re.compile(r"projectors\.(?P<teacher>[^.]+)\.(?P<part>.+)")
_LEAST_STD = 1e-3
_NORM_EPS = 1e-6


def teachers_of(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the teachers for which a file has such projectors."""
    return sorted({found["teacher"] for key in state if (found := _KEY.fullmatch(key))})


class BlockHead(Encoder):
    """The student followed by its projector for one teacher. Outputs are in the teacher's space, or in its standardised
    space if the file has no statistics of that teacher.

    CLS is the mean of the patches, and `has_cls` is False, if the teacher was matched by its patches alone.

    Args:
        student: encoder of the student, frozen.
        teacher: name of the teacher in the file.
        state: all weights of the file.
        where: start of an error line.

    Raises:
        InputError: the projector has other layers than the released ones.
    """

    def __init__(self, student: TimmEncoder, teacher: str, state: Mapping[str, Tensor], where: str) -> None:
        super().__init__(student.mean.flatten().tolist(), student.std.flatten().tolist())
        self.student = student
        student.norm_last = False  # the projector reads the last block without the final norm
        self.last_block = len(student.block_dims) - 1
        self.num_heads = int(student.model.blocks[0].attn.num_heads)
        where = f"{where}: the projector for '{teacher}' is none of DUNE's"
        self.projector = _projector(_below(state, f"projectors.{teacher}."), self.num_heads, student.embed_dim, where)
        width = self.embed_dim = self.patch_dim = self.projector.linear.out_features
        statistics = _below(state, f"teacher_norms.{teacher}.normalizers.")
        for kind in ("cls", "patch"):
            self.register_buffer(f"{kind}_mean", statistics.get(f"{kind}.mean", torch.zeros(width)).flatten().float())
            std = statistics.get(f"{kind}.std", torch.ones(width)).flatten().float()
            self.register_buffer(f"{kind}_std", std.clamp(min=_LEAST_STD))
        self.has_cls = not statistics or "cls.mean" in statistics
        self.input_size, self.licence = student.input_size, student.licence

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        (last,) = self.student.encode_blocks(x, [self.last_block])
        projected = self.projector(torch.cat([last.cls[:, None], last.patches], dim=1)).float()
        patches = projected[:, 1:] * self.patch_std + self.patch_mean
        cls = projected[:, 0] * self.cls_std + self.cls_mean if self.has_cls else patches.mean(dim=1)
        return Tokens(cls, patches, last.grid)

    def describe(self) -> str:
        return f"{self.student.describe()} {json.dumps([self.num_heads, self.has_cls])}"


class _Projector(nn.Module):
    """Transformer blocks and a linear layer, under the released names."""

    scale: Tensor

    def __init__(self, blocks: list[nn.Module], linear: nn.Linear) -> None:
        super().__init__()
        self.blocks, self.linear = nn.ModuleList(blocks), linear
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n e"]:
        for block in self.blocks:
            x = block(x)
        return self.scale * self.linear(x)


def _projector(state: dict[str, Tensor], num_heads: int, width: int, where: str) -> _Projector:
    """The projector of which `state` has the weights. Their names and shapes tell how it is built."""
    number = 1 + max((int(key.split(".")[1]) for key in state if re.match(r"blocks\.\d+\.", key)), default=-1)
    hidden, linear = state.get("blocks.0.mlp.fc1.weight"), state.get("linear.weight")
    if hidden is None or linear is None:
        missing = "blocks.0.mlp.fc1" if hidden is None else "linear"
        raise InputError(f"{where}: it has no {missing}")
    norm = partial(nn.LayerNorm, eps=_NORM_EPS, elementwise_affine="blocks.0.norm1.weight" in state)
    blocks: list[nn.Module] = [
        Block(
            width,
            num_heads,
            mlp_ratio=len(hidden) / width,
            qkv_bias="blocks.0.attn.qkv.bias" in state,
            init_values=1e-4 if "blocks.0.ls1.gamma" in state else None,  # any value adds a layer scale
            norm_layer=norm,  # type: ignore[arg-type]  # a class in timm's annotation
        )
        for _ in range(number)
    ]
    projector = _Projector(blocks, nn.Linear(width, len(linear)))
    load_all(projector, {"scale": torch.ones(1), **state}, where)
    return projector


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
