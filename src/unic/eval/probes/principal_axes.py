"""Standardised vectors in their principal axes, where a softmax regression is easy to precondition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Axes:
    """Standardisation with the training split's statistics, then rotation to its principal axes."""

    mean: Tensor  # (D,)
    std: Tensor  # (D,)
    rotation: Tensor  # (D, r), orthonormal columns, r = min(n, D)

    @classmethod
    def fit(cls, x: np.ndarray) -> Axes:
        """From training vectors `(n, D)`."""
        data, mean, std = _standardised(x)
        if len(data) < data.shape[1]:
            span, coordinates = torch.linalg.qr(data.T)
            return cls(mean, std, span @ torch.linalg.eigh(coordinates @ coordinates.T).eigenvectors)
        return cls(mean, std, torch.linalg.eigh(data.T @ data).eigenvectors)

    def __call__(self, x: np.ndarray) -> Tensor:
        """`(n, D)` → `(n, r + 1)`: coordinates and a last column of ones, the intercept's."""
        data = (torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)) - self.mean) / self.std
        return F.pad(data @ self.rotation, (0, 1), value=1.0)

    def of_part(self, x: np.ndarray) -> Axes:
        """For a part of the vectors: standardised by itself; a square rotation serves it as well as its own would."""
        if len(x) < x.shape[1]:
            return Axes.fit(x)
        _, mean, std = _standardised(x)
        return Axes(mean, std, self.rotation)


def _standardised(x: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """`x (n, D)` in standard deviations from the mean, the mean, the standard deviation."""
    data = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    mean, std = data.mean(0), data.std(0, correction=0)
    std[std < 1e-6 * std.max().clamp(min=1e-30)] = 1  # constant channels stay 0, as in scikit-learn
    return (data - mean) / std, mean, std
