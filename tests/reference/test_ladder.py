"""The ladder of projectors against METHOD §2 in float64: z = Σ_l W2_l · GELU(W1_l · x_l + b1_l) + b2_l."""

from __future__ import annotations

from math import erf, sqrt

import pytest
import torch
from torch import Tensor, nn

from unic.projectors import project
from unic.projectors.ladder import Projector
from unic.tokens import Tokens

RUNGS = [(8, 8), (8, 12), (16, 12)]  # widths of CLS and patches at three blocks of the student
TEACHERS = [(5, 7), (3, 3)]  # widths of CLS and patches


def gelu(value: float) -> float:
    return value * (1 + erf(value / sqrt(2))) / 2


def affine(layer: nn.Linear, x: list[float]) -> list[float]:
    rows = zip(layer.weight.double().tolist(), layer.bias.double().tolist(), strict=True)
    return [sum(w * value for w, value in zip(row, x, strict=True)) + b for row, b in rows]


def climbed(ladder: nn.Module, xs: list[list[float]]) -> list[float]:
    """The ladder's output for one token, given as it is after each block."""
    outputs = [
        affine(rung.fc2, [gelu(h) for h in affine(rung.fc1, x)]) for rung, x in zip(ladder.rungs, xs, strict=True)
    ]
    return [sum(values) for values in zip(*outputs, strict=True)]


@pytest.fixture
def projectors() -> list[Projector]:
    torch.manual_seed(0)
    built = [Projector(RUNGS, dims, 8, hidden_dim=6, last_hidden_dim=10) for dims in TEACHERS]
    for parameter in (p for projector in built for p in projector.parameters()):
        nn.init.normal_(parameter, std=0.5)  # biases too, and far enough from 0 that GELU is no line
    return built


@pytest.fixture
def rungs() -> list[Tokens]:
    torch.manual_seed(1)
    return [Tokens(torch.randn(2, cls), torch.randn(2, 6, patch), (2, 3)) for cls, patch in RUNGS]


def test_outputs_in_a_naive_loop(projectors: list[Projector], rungs: list[Tokens]) -> None:
    together, alone = project(projectors, rungs), [projector(rungs) for projector in projectors]
    for found in (together, alone):
        for teacher, projector in enumerate(projectors):
            for image in range(2):
                cls = climbed(projector.cls, [tokens.cls[image].tolist() for tokens in rungs])
                assert found[teacher].cls[image].tolist() == pytest.approx(cls, rel=1e-5, abs=1e-5)
                for place in range(6):
                    patch = climbed(projector.patch, [tokens.patches[image, place].tolist() for tokens in rungs])
                    assert found[teacher].patches[image, place].tolist() == pytest.approx(patch, rel=1e-5, abs=1e-5)


def plain(ladder: nn.Module, xs: list[Tensor]) -> Tensor:
    mlps = [
        nn.functional.gelu(x @ r.fc1.weight.T + r.fc1.bias) @ r.fc2.weight.T
        for r, x in zip(ladder.rungs, xs, strict=True)
    ]
    return sum(mlps) + sum(rung.fc2.bias for rung in ladder.rungs)


def test_gradients_are_those_of_the_formula_in_float64(projectors: list[Projector], rungs: list[Tokens]) -> None:
    for tokens in rungs:
        tokens.cls.requires_grad_()
        tokens.patches.requires_grad_()
    leaves = [x for tokens in rungs for x in (tokens.cls, tokens.patches)]
    leaves += [parameter for projector in projectors for parameter in projector.parameters()]
    found = project(projectors, rungs)
    ours = torch.autograd.grad(sum(t.cls.square().mean() + t.patches.square().mean() for t in found), leaves)

    for projector in projectors:
        projector.double()
    exact = [Tokens(t.cls.detach().double(), t.patches.detach().double(), t.grid) for t in rungs]
    for tokens in exact:
        tokens.cls.requires_grad_()
        tokens.patches.requires_grad_()
    cls, patches = [t.cls for t in exact], [t.patches for t in exact]
    loss = sum(plain(p.cls, cls).square().mean() + plain(p.patch, patches).square().mean() for p in projectors)
    leaves = [x for tokens in exact for x in (tokens.cls, tokens.patches)]
    leaves += [parameter for projector in projectors for parameter in projector.parameters()]
    for gradient, expected in zip(ours, torch.autograd.grad(loss, leaves), strict=True):
        scale = expected.abs().max().item()
        torch.testing.assert_close(gradient.double(), expected, atol=1e-5 * scale, rtol=1e-5)


def test_pre_norm_brings_each_token_to_mean_0_and_deviation_1_before_its_rung(rungs: list[Tokens]) -> None:
    def normed(x: list[float]) -> list[float]:
        mean = sum(x) / len(x)
        deviation = sqrt(sum((value - mean) ** 2 for value in x) / len(x) + 1e-5)
        return [(value - mean) / deviation for value in x]

    torch.manual_seed(0)
    built = [Projector(RUNGS, dims, 8, hidden_dim=6, last_hidden_dim=10, norm="pre") for dims in TEACHERS]
    for parameter in (p for projector in built for p in projector.parameters()):
        nn.init.normal_(parameter, std=0.5)
    for projector, found in zip(built, project(built, rungs), strict=True):
        for image in range(2):
            cls = climbed(projector.cls, [normed(tokens.cls[image].tolist()) for tokens in rungs])
            assert found.cls[image].tolist() == pytest.approx(cls, rel=1e-5, abs=1e-5)
            for place in range(6):
                patch = climbed(projector.patch, [normed(tokens.patches[image, place].tolist()) for tokens in rungs])
                assert found.patches[image, place].tolist() == pytest.approx(patch, rel=1e-5, abs=1e-5)


def test_the_last_rung_climbs_alone(projectors: list[Projector], rungs: list[Tokens]) -> None:
    """What nested widths ask: neither inner rungs nor their biases are in the sum."""
    for projector, found in zip(projectors, project(projectors, rungs[-1:]), strict=True):
        rung = projector.cls.rungs[-1]
        for image in range(2):
            expected = affine(rung.fc2, [gelu(h) for h in affine(rung.fc1, rungs[-1].cls[image].tolist())])
            assert found.cls[image].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)
