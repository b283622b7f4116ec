"""Leaves the teachers' tokens as they are: an ablation."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unic.kinds import Kind
from unic.standardizers import base


class Standardizer(base.Standardizer):
    """The targets are the teachers' tokens."""

    is_invertible = True

    def standardised(self, teacher: str, kind: Kind, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        return x.float()

    def inverse(self, teacher: str, kind: Kind) -> base.Inverse:
        ones = torch.ones(self.dims[teacher][kind == "patch"])
        return base.Inverse(ones, torch.zeros_like(ones), ones)
