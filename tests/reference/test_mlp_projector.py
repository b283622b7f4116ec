"""The MLP projector and the identity in loops over floats: z = W2 · GELU(W1 · x + b1) + b2, and z = x."""

from __future__ import annotations

from math import erf, sqrt

import pytest
import torch
from torch import nn

from unic.projectors.identity import Projector as Identity
from unic.projectors.mlp import Projector
from unic.tokens import Tokens


def gelu(value: float) -> float:
    return value * (1 + erf(value / sqrt(2))) / 2


def affine(layer: nn.Linear, x: list[float]) -> list[float]:
    rows = zip(layer.weight.double().tolist(), layer.bias.double().tolist(), strict=True)
    return [sum(w * value for w, value in zip(row, x, strict=True)) + b for row, b in rows]


def passed(layers: list[nn.Linear], x: list[float]) -> list[float]:
    for layer in layers[:-1]:
        x = [gelu(value) for value in affine(layer, x)]
    return affine(layers[-1], x)


@pytest.mark.parametrize(("depth", "shared"), [(2, False), (3, False), (2, True)])
def test_outputs_in_a_naive_loop(depth: int, shared: bool) -> None:
    torch.manual_seed(0)
    projector = Projector([(4, 4), (8, 8)], (5, 5), 8, hidden_dim=6, depth=depth, shared=shared)
    for parameter in projector.parameters():
        nn.init.normal_(parameter, std=0.5)
    rungs = [Tokens(torch.randn(2, d), torch.randn(2, 6, d), (2, 3)) for d in (4, 8)]
    found, last = projector(rungs), rungs[-1]
    cls = [layer for layer in projector.cls if isinstance(layer, nn.Linear)]
    patch = [layer for layer in (projector.cls if shared else projector.patch) if isinstance(layer, nn.Linear)]
    assert len(cls) == depth
    for image in range(2):
        expected = passed(cls, last.cls[image].double().tolist())
        assert found.cls[image].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)
        for place in range(6):
            expected = passed(patch, last.patches[image, place].double().tolist())
            assert found.patches[image, place].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_identity_gives_the_tokens_of_the_last_block() -> None:
    rungs = [Tokens(torch.randn(2, d), torch.randn(2, 6, d), (2, 3)) for d in (4, 8)]
    found = Identity([(4, 4), (8, 8)], (8, 8), 8)(rungs)
    assert torch.equal(found.cls, rungs[-1].cls)
    assert torch.equal(found.patches, rungs[-1].patches)
