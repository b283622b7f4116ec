"""Every teacher counts alike: c = 1."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unic.weightings import base


class Weighting(base.Weighting):
    """The mean of all pairs. With owners of sources it is the method of DUNE (arXiv 2503.14405)."""

    def coefficients(self, pairs: base.Pairs) -> Float[Tensor, "t b"]:
        return base.of_owners(torch.ones_like(pairs.losses[:, 0]), pairs)
