"""Layer norm of each token: (y − mean of y) / √(variance of y + 1e-6) over its channels, without weights.

The whitening of Feature Distillation (Wei et al., arXiv 2205.14141). It keeps no statistics, so nothing has to be
seen before it learns, and the length of a token is lost: a target cannot become the teacher's token again.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unic.kinds import Kind
from unic.standardizers import base


class Standardizer(base.Standardizer):
    """Layer norm of each token."""

    def standardised(self, teacher: str, kind: Kind, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        return F.layer_norm(x.float(), x.shape[-1:], eps=1e-6)
