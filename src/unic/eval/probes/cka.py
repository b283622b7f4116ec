"""Linear CKA, a similarity of two sets of features of the same images (Kornblith et al., arXiv 1905.00414).

It uses the unbiased estimate of HSIC (Song et al., JMLR 2012)

    HSIC(K, L) = [tr(K̃L̃) + 1ᵀK̃1·1ᵀL̃1 / ((n−1)(n−2)) − 2·1ᵀK̃L̃1 / (n−2)] / (n(n−3)),   K̃ = XXᵀ, diagonal 0

written with `XᵀY (D, E)` and `Xᵀ1`, so that no n × n matrix is stored. The biased estimate goes to 1 as the number of
channels approaches that of images; this one is 0 on average for unrelated features of any width.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unic.device import default_device

FEWEST = 4
"""Smallest number of images for the unbiased estimate."""


def cka(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n e"]) -> float:
    """Linear CKA of two sets of features of the same images; 0 if one of them is constant.

    It is computed in float64. Features are centred first, which reduces rounding and does not change the result.

    Args:
        x, y: features of the same n images, at least `FEWEST`.
    """
    a, b = _centred(x), _centred(y)
    scale = _hsic(a, a) * _hsic(b, b)
    return float(_hsic(a, b) / scale.sqrt()) if scale > 0 else 0.0


def _centred(x: np.ndarray) -> Tensor:
    data = torch.from_numpy(np.ascontiguousarray(x)).to(default_device(), torch.float64)
    return data - data.mean(0)


def _hsic(x: Float[Tensor, "n d"], y: Float[Tensor, "n e"]) -> Float[Tensor, ""]:
    n = len(x)
    k_diagonal, l_diagonal = x.square().sum(1), y.square().sum(1)
    k_rows, l_rows = x @ x.sum(0) - k_diagonal, y @ y.sum(0) - l_diagonal
    trace = (x.T @ y).square().sum() - k_diagonal @ l_diagonal
    total = k_rows.sum() * l_rows.sum() / ((n - 1) * (n - 2)) - 2 * (k_rows @ l_rows) / (n - 2)
    return (trace + total) / (n * (n - 3))
