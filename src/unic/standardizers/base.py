"""`Standardizer`, the base class of the standardisers: how the teachers' tokens become targets of one scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from unic.kinds import KINDS, Kind, Widths
from unic.lookup import name_of
from unic.ranks import summed as summed  # for standardisers of one's own
from unic.shapes import check_shape
from unic.tokens import Tokens, tokens_of

Dims = Mapping[str, Widths]
"""Widths by teacher."""


class Inverse(NamedTuple):
    """How a target z becomes the teacher's token again: matrix · z + shift.

    Attributes:
        matrix: `(D, D)`, or its diagonal `(D,)`.
        shift: `(D,)`.
        scale: divisor of each channel of y − shift, which brings it to about the size of the target, `(D,)`.
    """

    matrix: Float[Tensor, "d d"] | Float[Tensor, "d"]
    shift: Float[Tensor, "d"]
    scale: Float[Tensor, "d"]


class Standardizer(nn.Module):
    """A standardiser. A file of this folder holds a subclass of the same name; its keyword-only arguments are options.

    A standardiser with a state keeps it in buffers, which are saved in checkpoints. One step of the optimiser is one
    batch: `forward` may collect what it sees in training mode, and `update` changes the state once, from what all
    processes have collected (`summed`). In evaluation mode `forward` changes nothing.

    Args:
        dims: widths of CLS and patches by teacher.

    Attributes:
        is_invertible: whether `inverse` works, which a kept head needs.
        first_steps: so many steps at the start only set the statistics; nothing learns in them.
    """

    is_invertible: ClassVar[bool] = False
    first_steps: int = 0

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.dims = dict(dims)

    def forward(self, targets: Mapping[str, Tokens]) -> dict[str, Tokens]:
        """The targets of a micro-batch, `{teacher: Tokens}`; not all teachers need to be there."""
        out = {}
        for name, tokens in targets.items():
            has_cls, has_patches = map(bool, self.dims[name])
            cls = self._checked(name, "cls", tokens.cls) if has_cls else None
            patches = self._checked(name, "patch", tokens.patches) if has_patches else None
            out[name] = tokens_of(cls, patches, tokens.grid)
        return out

    def _checked(self, teacher: str, kind: Kind, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """`standardised`, whose result must have the shape of `x`."""
        targets = self.standardised(teacher, kind, x)
        what = f"standardizer '{name_of(self)}': what standardised('{teacher}', '{kind}', x) returns"
        check_shape(what, targets, x.shape, "the shape of x")
        return targets

    def standardised(self, teacher: str, kind: Kind, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The targets of one kind of tokens, in float32."""
        raise NotImplementedError

    def update(self, progress: float) -> None:
        """Ends a step of the optimiser.

        Args:
            progress: from 0 at the first step to 1 at the end of the stage.
        """

    def inverse(self, teacher: str, kind: Kind) -> Inverse:
        """How targets become the teacher's tokens again; only of one that `is_invertible`."""
        raise NotImplementedError

    @staticmethod
    def widths_in(state: Mapping[str, Tensor], teacher: str) -> Widths | None:
        """The widths of a teacher, read from the state of a checkpoint; None if the state does not tell them."""
        cls, patch = (state.get(f"teachers.{teacher}.{kind}.mean") for kind in KINDS)
        return None if cls is None or patch is None else (len(cls), len(patch))

    def values(self) -> dict[str, float]:
        """Numbers for the log; may read the device."""
        return {}
