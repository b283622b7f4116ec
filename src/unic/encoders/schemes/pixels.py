"""Raw pixels as an encoder, the baseline that every model must beat: `pixels:SIZE`, for example `pixels:32`.

CLS is the flattened image `(3 · SIZE · SIZE,)`; patches are the pixels, a grid of 3-d vectors.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from unic.encoders import Spec
from unic.encoders.base import NO_LICENCE, Encoder
from unic.errors import InputError
from unic.tokens import Tokens, patches_of


def load(spec: Spec) -> Encoder:
    spec.check()
    if not spec.name.isdigit() or int(spec.name) == 0:
        raise InputError(f"encoder '{spec.uri}': expected pixels:SIZE, for example pixels:32")
    return Pixels(int(spec.name))


class Pixels(Encoder):
    """The resized image itself; no weights."""

    has_cls = False
    licence = NO_LICENCE
    architecture = "cnn"  # keeps fp32 on a CPU: without a matrix product bf16 saves no time

    def __init__(self, size: int) -> None:
        super().__init__([0.0] * 3, [1.0] * 3)
        self.input_size = (size, size)
        self.embed_dim, self.patch_dim = 3 * size * size, 3

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        return Tokens(x.flatten(1), patches_of(x), self.input_size)
