"""Standardised vectors in the coordinates of their principal axes, in which a softmax regression converges faster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PrincipalAxes:
    """Standardisation with the training split's statistics, then rotation to its principal axes."""

    mean: Tensor  # (D,)
    std: Tensor  # (D,)
    rotation: Tensor  # (D, r), orthonormal columns, r = min(n, D)

    @classmethod
    def fit(cls, x: np.ndarray) -> PrincipalAxes:
        """The principal axes of training vectors `(n, D)`."""
        data, mean, std = _standardised(x)
        if len(data) < data.shape[1]:
            span, coordinates = torch.linalg.qr(data.T)
            return cls(mean, std, span @ torch.linalg.eigh(coordinates @ coordinates.T).eigenvectors)
        return cls(mean, std, torch.linalg.eigh(data.T @ data).eigenvectors)

    def __call__(self, x: np.ndarray) -> Tensor:
        """Coordinates of vectors, with a last column of ones for the intercept: `(n, D)` → `(n, r + 1)`."""
        data = (torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)) - self.mean) / self.std
        return F.pad(data @ self.rotation, (0, 1), value=1.0)

    def of_part(self, x: np.ndarray) -> PrincipalAxes:
        """Axes for a part of the vectors, with the mean and std of this part. A square rotation is reused, as any
        rotation leaves the solution unchanged."""
        if len(x) < x.shape[1]:
            return PrincipalAxes.fit(x)
        _, mean, std = _standardised(x)
        return PrincipalAxes(mean, std, self.rotation)


def _standardised(x: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """`x (n, D)` after standardisation, its mean, and its standard deviation."""
    data = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    mean, std = data.mean(0), data.std(0, correction=0)
    std[std < 1e-6 * std.max().clamp(min=1e-30)] = 1  # constant channels stay 0, as in scikit-learn
    return (data - mean) / std, mean, std
