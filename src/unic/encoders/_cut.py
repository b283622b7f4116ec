"""An encoder cut to its first channels: `run:DIR?width=64` of a student with nested widths, or of any other."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from unic.encoders.base import Encoder, Size
from unic.errors import InputError
from unic.tokens import Grid, Tokens


class CutEncoder(Encoder):
    """The first channels of CLS and patches. It cannot be trained: it has no `block_dims`.

    Args:
        whole: the encoder that is cut.
        width: number of channels that stay.

    Raises:
        InputError: the encoder has fewer channels.
    """

    def __init__(self, whole: Encoder, width: int) -> None:
        super().__init__(whole.mean.flatten().tolist(), whole.std.flatten().tolist())
        full = min(whole.embed_dim, whole.patch_dim)
        if not 0 < width <= full:
            raise InputError(f"encoder '{whole.uri}': option 'width' must be from 1 to {full}, not {width}")
        self.whole, self.width = whole, width
        self.embed_dim = self.patch_dim = width
        self.input_size, self.has_cls = whole.input_size, whole.has_cls
        self.architecture, self.channels_last = whole.architecture, whole.channels_last
        self.licence, self.revision = whole.licence, whole.revision

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        tokens = self.whole.encode(x)
        return Tokens(tokens.cls[:, : self.width], tokens.patches[..., : self.width], tokens.grid)

    def grid_at(self, size: Size) -> Grid | None:
        return self.whole.grid_at(size)

    def describe(self) -> str:
        return f"{self.whole.describe()} {self.width}"
