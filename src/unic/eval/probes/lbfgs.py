"""Logistic regression by scikit-learn's L-BFGS on vectors as they are, as the UNIC paper's published code fits it.

The published scores are of this solver: it stops by a tolerance of 1e-4 on the gradient, which for large C is far from
the minimum (docs/log.md). So the fast solver of `unic.eval.probes.softmax`, which goes on, would give other scores.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

_MAX_ITERATIONS = 2000


def with_ones(x: Float[np.ndarray, "n d"]) -> Float[Tensor, "n e"]:
    """Vectors with a last column of ones for the intercept."""
    return F.pad(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)), (0, 1), value=1.0)


def fit(x: Float[np.ndarray, "n d"], y: Int[np.ndarray, " n"], C: float) -> tuple[Float[Tensor, "k e"], int]:
    """Weights for each class of `y`, of which there are 0 … k − 1, and the number of iterations.

    Args:
        x: training vectors.
        y: their classes.
        C: inverse strength of the l2 penalty.

    Returns:
        The weights, whose last column is the intercept; and the number of iterations, of which there are at most 2000.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the limit is part of the protocol
        model = LogisticRegression(C=C, max_iter=_MAX_ITERATIONS).fit(np.asarray(x, dtype=np.float32), y)
    weights = np.concatenate([model.coef_, model.intercept_[:, None]], axis=1)
    if len(weights) == 1:  # of two classes scikit-learn has the difference only
        weights = np.concatenate([np.zeros_like(weights), weights])
    return torch.from_numpy(weights).float(), int(model.n_iter_[0])
