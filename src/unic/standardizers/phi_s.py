"""PHI-S: a rotation and one scale per teacher, after which every channel has variance 1.

Ranzinger et al. (arXiv 2410.01680). With mean μ and covariance U·Λ·Uᵀ of a teacher's tokens and φ² the mean of the
eigenvalues Λ, y → H·Uᵀ·(y − μ) / φ, with H a Hadamard matrix of length-1 rows. H spreads the variance of the principal
components evenly over the channels, so one scale suffices and no direction is stretched, unlike a σ for each channel.
Backwards: y = φ·U·Hᵀ·z + μ. For a width without a known Hadamard matrix (odd ones) rotations of two components at a
time, each of which brings one channel to φ² (Schur and Horn), take the place of H.

μ and the covariance are those of all tokens in the first `steps` steps. Nothing learns in these, since the targets are
not settled. Then the rotation is fixed for the rest of the run, stages included: projectors could not follow a basis
that turns. Both lie in each checkpoint: for CLS and for patches of each teacher D² float64 and D² float32 numbers.
A step costs a product with a D × D matrix for each token of a teacher, and in the first steps one more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unic.errors import InputError
from unic.kinds import Kind
from unic.ranks import summed
from unic.standardizers import base
from unic.standardizers._by_teacher import ByTeacher
from unic.standardizers._hadamard import hadamard

_EPS = 1e-12
_NOISE = 1e-8  # share of the largest variance below which a direction of float32 tokens counts as empty


class Rotation(nn.Module):
    """Count, mean and scatter Σ (y − μ)(y − μ)ᵀ of one teacher and token type, and the rotation made of them."""

    count: Tensor
    mean: Tensor
    scatter: Tensor
    matrix: Tensor
    deviation: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("scatter", torch.zeros(dim, dim, dtype=torch.float64))
        self.register_buffer("matrix", torch.eye(dim))  # H·Uᵀ / φ
        self.register_buffer("deviation", torch.ones(()))  # φ

    def merge(self, count: Tensor, mean: Tensor, scatter: Tensor) -> None:
        """Adds the moments of further tokens; ones that are not finite are left out."""
        total = self.count + count
        delta = mean - self.mean
        merged = self.scatter + scatter + torch.outer(delta, delta) * (self.count * count / total)
        finite = torch.isfinite(merged).all() & (count > 0)
        self.mean.copy_(torch.where(finite, self.mean + delta * (count / total), self.mean))
        self.scatter.copy_(torch.where(finite, merged, self.scatter))
        self.count.copy_(torch.where(finite, total, self.count))

    def fix(self) -> None:
        """Makes the rotation; reads the device."""
        values, vectors = _principal(self.scatter / self.count.clamp(min=1))
        deviation = values.mean().sqrt().clamp(min=_EPS)
        spread = torch.from_numpy(_spreading(values.cpu().numpy())).to(vectors)
        self.matrix.copy_(spread @ vectors.T / deviation)
        self.deviation.copy_(deviation)


class Standardizer(base.Standardizer):
    """PHI-S.

    Args:
        dims: widths of CLS and patches by teacher; a width of 0 leaves either out.
        steps: that the covariance is measured in. With a batch of B images it is of B·steps CLS.
    """

    is_invertible = True
    steps_done: Tensor

    def __init__(self, dims: base.Dims, *, steps: int = 50) -> None:
        super().__init__(dims)
        if steps < 1:
            raise InputError(f"recipe: 'standardize.steps' must be at least 1 (got {steps})")
        self.first_steps = steps
        self.teachers = ByTeacher(dims, Rotation)
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.int64))
        self._done: int | None = None  # the same number, read from the device once after a start or a resume
        nn.Module.register_load_state_dict_post_hook(self, _forget_steps)
        self._window: dict[tuple[str, Kind], list[Tensor]] = {}

    def standardised(self, teacher: str, kind: Kind, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Rotated tokens; in the first steps remembers them for the covariance while training."""
        rotation = self.teachers.of(teacher, kind)
        if self.training and not self._is_fixed():
            self._window.setdefault((teacher, kind), []).append(x.detach().flatten(0, -2))
        return (x.float() - rotation.mean.float()) @ rotation.matrix.T

    def update(self, progress: float) -> None:
        if self._is_fixed():
            return
        for (name, kind), tokens in self._window.items():
            self.teachers.of(name, kind).merge(*_moments(torch.cat(tokens)))
        self._window = {}
        self.steps_done += 1
        self._done = (self._done or 0) + 1
        if self._is_fixed():
            for rotation in self.modules():
                if isinstance(rotation, Rotation) and len(rotation.mean):
                    rotation.fix()

    def inverse(self, teacher: str, kind: Kind) -> base.Inverse:
        """y = φ·U·Hᵀ·z + μ."""
        rotation = self.teachers.of(teacher, kind)
        scale = rotation.deviation.expand(len(rotation.mean))
        return base.Inverse(rotation.matrix.T * rotation.deviation.square(), rotation.mean.float(), scale)

    def _is_fixed(self) -> bool:
        if self._done is None:
            self._done = int(self.steps_done)
        return self._done >= self.first_steps


def _forget_steps(module: nn.Module, _: Any) -> None:
    assert isinstance(module, Standardizer)
    module._done = None


def _moments(x: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and scatter of the tokens of all processes."""
    x = x.double()
    count, mean = x.new_full((), float(len(x))), x.mean(0)
    total = summed(torch.cat([count.view(1), count * mean]))
    whole, centre = total[0], total[1:] / total[0]
    return whole, centre, summed((x - centre).T @ (x - centre))


def _principal(covariance: Float[Tensor, "d d"]) -> tuple[Float[Tensor, "d"], Float[Tensor, "d d"]]:
    """Variances, largest first, and directions of the principal components, chosen so that rounding does not choose.

    A direction may have either sign: its largest entry is positive. Where the tokens have no variance, as in a space
    that is wider than the number of tokens, any basis would do: it is made of the first coordinates.
    """
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    count = int((values > _NOISE * values[0]).sum())
    known = vectors[:, :count]
    largest = known.gather(0, known.abs().argmax(0, keepdim=True))
    known = known * torch.where(largest < 0, -1.0, 1.0)
    others = torch.eye(len(values)).to(known) - known @ known.T
    basis, triangle = torch.linalg.qr(others[:, : len(values) - count])
    basis = basis * torch.where(triangle.diagonal() < 0, -1.0, 1.0)
    return values, torch.cat([known, basis], dim=1)


def _spreading(values: Float[np.ndarray, "d"]) -> Float[np.ndarray, "d d"]:
    """A rotation after which uncorrelated components of these variances have equal ones."""
    matrix = hadamard(len(values))
    return _pairwise(values) if matrix is None else matrix / np.sqrt(len(values))


def _pairwise(values: Float[np.ndarray, "d"]) -> Float[np.ndarray, "d d"]:
    """Rotations in the plane of the largest and the smallest variance, each of which brings one of them to the mean."""
    rows, left, mean = np.eye(len(values)), values.astype(np.float64), values.mean()
    for _ in range(len(values) - 1):
        large, small = int(np.nanargmax(left)), int(np.nanargmin(left))
        a, b = left[large], left[small]
        if large == small or a - b <= 0:
            break
        cosine, sine = np.sqrt(max(mean - b, 0) / (a - b)), np.sqrt(max(a - mean, 0) / (a - b))
        first, second = rows[large].copy(), rows[small].copy()
        rows[large], rows[small] = cosine * first + sine * second, cosine * second - sine * first
        left[large], left[small] = np.nan, a + b - mean
    return rows
