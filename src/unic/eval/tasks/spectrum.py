"""Use of the feature and the weight space: spectra of the features' principal axes and of the weight matrices.

Effective rank (Roy and Vetterli, EUSIPCO 2007): exp(−Σ p ln p) with p = σ / Σσ over the singular values σ of the
centred features. Participation ratio: (Σλ)² / Σλ² over the eigenvalues λ ∝ σ² of their covariance. Both equal the
number of axes if all axes have the same variance. Stable rank of a weight matrix: Σσ² / max σ².
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unic.device import default_device
from unic.eval.outcome import Measure, Outcome
from unic.eval.subject import Subject

VERSION = 1
INPUT = "subject"
DATA = "any"
IS_RANDOM = False
_POINTS = 64  # points of the curve in the details
_SHARES = (90, 95, 99)  # percent of the variance
_KINDS = ("cls", "patch_mean")


def _first(means: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    return means[:, 0]


MEASURE = Measure("effective rank", _first, is_score=False)


def run(subject: Subject, *, seed: int = 0) -> Outcome:
    """Spectra of a model's CLS and mean of patches on the test images, and of its weights.

    Args:
        subject: the model.
        seed: unused, as nothing is drawn.

    Returns:
        The outcome. Its value is the effective rank of the CLS, one number for the whole set, so every image has the
        same mark and the interval has no width. `details["cls"]`, `details["patch_mean"]`: see `spectrum`.
        `details["weights"]`: see `weight_use`; None for a concatenation and for an encoder without layers of torch.
    """
    found = {kind: spectrum(_vectors(subject, kind)) for kind in _KINDS}
    weights = None if subject.members else weight_use(subject.encoder)
    marks = np.full((found["cls"]["num_images"], 1), found["cls"]["effective_rank"], dtype=np.float64)
    return Outcome(marks, MEASURE, {**found, "weights": weights})


def _vectors(subject: Subject, kind: str) -> Float[np.ndarray, "n d"]:
    """Vectors of a model. Members of a concatenation are standardised over these images and divided by √dim, so that
    they have equal weights."""
    if not subject.members:
        return getattr(subject.features("test"), kind)
    parts = []
    for member in subject.members:
        x = _vectors(member, kind)
        parts.append((x - x.mean(0)) / ((x.std(0) + 1e-6) * np.float32(np.sqrt(x.shape[1]))))
    return np.concatenate(parts, axis=1)


def spectrum(x: Float[np.ndarray, "n d"]) -> dict[str, Any]:
    """Spectrum of the principal axes of features, as values for JSON.

    Args:
        x: features of n images.

    Returns:
        `num_images`, `dim`, `effective_rank` and `participation_ratio` (both at most min(n − 1, dim)), `components`
        (number of axes that hold 90, 95 and 99 % of the variance) and `curve`: `component` (at most 64 axes, counted
        from 1, evenly spaced in their logarithm) and `variance` (fraction of the variance along each).
    """
    data = _on_device(torch.from_numpy(np.ascontiguousarray(x)))
    eigenvalues = _squared_singular_values(data - data.mean(0))
    share = eigenvalues / eigenvalues.sum() if eigenvalues.any() else eigenvalues
    shown = np.unique(np.geomspace(1, len(share), _POINTS).round().astype(int))
    return {
        "num_images": len(x),
        "dim": x.shape[1],
        "effective_rank": round(_effective_rank(eigenvalues), 3),
        "participation_ratio": round(_ratio(eigenvalues.sum().square(), eigenvalues.square().sum()), 3),
        "components": {str(p): _num_axes(share, p / 100) for p in _SHARES},
        "curve": {"component": shown.tolist(), "variance": [float(f"{v:.4g}") for v in share[shown - 1].tolist()]},
    }


def weight_use(model: nn.Module) -> dict[str, Any] | None:
    """Ranks of the weights of linear layers and convolutions.

    A weight is the matrix `(out, in · height · width)`. Grouped convolutions are left out: depthwise filters share no
    input, so their matrix is no map between two spaces.

    Args:
        model: any module.

    Returns:
        `num_matrices`, and means over the matrices: `effective_rank` and `stable_rank` as fractions of the full rank
        min(rows, columns). `by_block` and `by_layer` hold the same two means for each block (`blocks.3`) and each kind
        of layer (`attn.qkv`), in the order of the model. None without such layers.
    """
    found: dict[str, tuple[float, float]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
            squares = _squared_singular_values(_on_device(module.weight.detach().flatten(1)))
            stable = _ratio(squares.sum(), squares.max())
            found[name] = _effective_rank(squares) / len(squares), stable / len(squares)
    if not found:
        return None
    return {
        "num_matrices": len(found),
        **_means(list(found.values())),
        "by_block": _grouped(found, {name: _block(name) for name in found}),
        "by_layer": _grouped(found, {name: _layer(name) for name in found}),
    }


def _squared_singular_values(x: Float[Tensor, "n d"]) -> Float[Tensor, " r"]:
    """Squares of the `r = min(n, d)` singular values, descending, from the smaller Gram matrix."""
    gram = x.T @ x if x.shape[0] > x.shape[1] else x @ x.T
    return torch.linalg.eigvalsh(gram).flip(0).clamp(min=0).cpu()


def _effective_rank(squares: Float[Tensor, " r"]) -> float:
    values = squares.sqrt()
    return float(torch.special.entr(values / values.sum()).sum().exp()) if values.any() else 0.0


def _ratio(a: Tensor, b: Tensor) -> float:
    """`a / b`; 0 if `b` is 0, as for constant features."""
    return float(a / b) if b > 0 else 0.0


def _num_axes(share: Float[Tensor, " r"], wanted: float) -> int:
    """Number of first axes that hold a fraction `wanted` of the variance; 1e-9 allows for rounding in a sum of 1."""
    return min(int((share.cumsum(0) < wanted - 1e-9).sum()) + 1, len(share))


def _on_device(x: Tensor) -> Float[Tensor, "n d"]:
    """`x` in float64 on the default device: squares of singular values have only half the digits."""
    return x.to(default_device(), torch.float64)


def _block(name: str) -> str:
    """`model.blocks.3.attn.qkv` → `model.blocks.3`; the name itself for a layer outside of numbered blocks."""
    parts = name.split(".")
    numbers = _places_of_numbers(parts)
    return ".".join(parts[: numbers[0] + 1]) if numbers else name


def _layer(name: str) -> str:
    """`model.blocks.3.attn.qkv` → `attn.qkv`, the part behind the last number; the name itself if there is none."""
    parts = name.split(".")
    numbers = _places_of_numbers(parts)
    return (".".join(parts[numbers[-1] + 1 :]) if numbers else "") or name


def _places_of_numbers(parts: Sequence[str]) -> list[int]:
    return [place for place, part in enumerate(parts) if part.isdigit()]


def _grouped(found: Mapping[str, tuple[float, float]], group_of: Mapping[str, str]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[tuple[float, float]]] = {}
    for name, values in found.items():
        groups.setdefault(group_of[name], []).append(values)
    return {group: _means(values) for group, values in groups.items()}


def _means(values: Sequence[tuple[float, float]]) -> dict[str, float]:
    effective, stable = np.mean(values, axis=0)
    return {"effective_rank": round(float(effective), 4), "stable_rank": round(float(stable), 4)}
