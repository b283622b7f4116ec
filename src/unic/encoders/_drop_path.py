"""Drop path with keyed draws: image i keeps a branch iff uniform(seed, step, i, layer) ≥ p, and scales it by 1/(1 − p).

Stochastic depth (Huang et al., arXiv 1603.09382) in timm's form, one draw per image and residual branch. timm draws
from the global generator, so the order of batches and the number of processes would change the run. Keyed draws do not
depend on them.
"""

from __future__ import annotations

import timm.layers
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unic import rng

_STREAM = rng.stream("drop_path")


class KeyedDropPath(nn.Module):
    """Drops the branch of whole images in training; the identity in evaluation.

    `set_drop_path_keys` writes `draws` before each forward pass. A training forward without it raises an error: with a
    silent fall-back on the global generator, resumed runs would differ and nobody would know why.
    """

    draws: Float[Tensor, "b"] | None

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.draws = None

    def forward(self, x: Float[Tensor, "b *rest"]) -> Float[Tensor, "b *rest"]:
        if not self.training:
            return x
        if self.draws is None or len(self.draws) != len(x):
            raise RuntimeError(
                "drop path: call set_drop_path_keys with this batch's image indices before the forward pass"
            )
        keep = (self.draws >= self.drop_prob).to(x.dtype) / (1 - self.drop_prob)
        return x * keep.view(-1, *[1] * (x.ndim - 1))

    def extra_repr(self) -> str:
        return f"drop_prob={self.drop_prob:.3f}"


def install(model: nn.Module) -> None:
    """Replaces timm's `DropPath` modules in place; those that never drop become the identity and cost nothing."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, timm.layers.DropPath):
                setattr(parent, name, KeyedDropPath(child.drop_prob) if child.drop_prob > 0 else nn.Identity())


def set_drop_path_keys(model: nn.Module, seed: int, step: int | Tensor, index: Int[Tensor, "b"]) -> None:
    """Draws for the next forward pass of `model`, on the device of `index`, without a host synchronisation.

    Args:
        model: an encoder (or any module that contains one). Without drop path nothing happens.
        seed: seed of the run.
        step: step of the optimiser.
        index: `(b,)` int64, image index in the data set for each element of the batch. Views of one image may have
            different indices.
    """
    layers = [module for module in model.modules() if isinstance(module, KeyedDropPath)]
    if not layers:
        return
    depth = torch.arange(len(layers), device=index.device)
    draws = rng.uniform(index[None, :], _STREAM, seed, step, depth[:, None])
    for layer, row in zip(layers, draws, strict=True):
        layer.draws = row
