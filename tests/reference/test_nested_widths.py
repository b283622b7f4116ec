"""Nested widths in loops over floats: the mean of ℓ[t, i] over the widths, with sliced weights in place of zeros."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from unic.encoders import build_encoder
from unic.losses import build_losses
from unic.projectors import build_projector
from unic.tokens import Tokens
from unic.training.distiller import Distiller

WIDTHS = [5, 16]


def gelu(value: float) -> float:
    return value * (1 + math.erf(value / math.sqrt(2))) / 2


def affine(layer: nn.Linear, x: list[float]) -> list[float]:
    """W[:, :d] x + b of a vector of d numbers."""
    rows = zip(layer.weight.double().tolist(), layer.bias.double().tolist(), strict=True)
    return [sum(w * value for w, value in zip(row, x, strict=False)) + b for row, b in rows]


def cosine_distance(z: list[float], y: list[float]) -> float:
    return 1 - sum(p * q for p, q in zip(z, y, strict=True)) / math.hypot(*z) / math.hypot(*y)


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


@pytest.mark.parametrize("kind", ["ladder", "mlp", "linear"])
@pytest.mark.parametrize("model", ["timm:test_vit", "timm:test_efficientnet"])
def test_loss_is_the_mean_over_the_widths(kind: str, model: str) -> None:
    torch.manual_seed(0)
    student = build_encoder(f"{model}?pretrained=false&img_size=32").eval()
    dims = {"a": (5, 7), "b": (3, 3)}
    projectors = {
        name: build_projector(kind, list(student.block_dims), of_teacher, student.embed_dim, {})
        for name, of_teacher in dims.items()
    }
    for parameter in (p for projector in projectors.values() for p in projector.parameters()):
        nn.init.normal_(parameter, std=0.2)
    blocks = range(len(student.block_dims))
    settings = ({name: build_losses({"cosine": 1.0}, widths) for name, widths in dims.items()}, blocks)
    plain = Distiller(student, projectors, *settings, seed=0).eval()
    nested = Distiller(student, projectors, *settings, seed=0, widths=WIDTHS).eval()
    images, index = torch.rand(2, 3, 32, 32), torch.arange(2)
    n = student.grid[0] * student.grid[1]
    targets = {name: Tokens(torch.randn(2, c), torch.randn(2, n, p), student.grid) for name, (c, p) in dims.items()}
    full, found = plain(images, targets, 1, index), nested(images, targets, 1, index)
    last = student.intermediates(images, blocks)[-1]

    def answered(projector: nn.Module, token: str, x: list[float]) -> list[float]:
        part = getattr(projector, token)
        if kind == "linear":
            return affine(part, x)
        first, second = (part.rungs[-1].fc1, part.rungs[-1].fc2) if kind == "ladder" else (part[0], part[2])
        return affine(second, [gelu(value) for value in affine(first, x)])

    for t, name in enumerate(dims):
        projector, y = projectors[name], targets[name]
        for i in range(2):
            losses = [full.losses[t, i].item()]
            for width in WIDTHS:
                cls = answered(projector, "cls", last.cls[i, :width].double().tolist())
                patches = [answered(projector, "patch", x[:width].double().tolist()) for x in last.patches[i]]
                pairs = zip(patches, y.patches[i].tolist(), strict=True)
                of_patches = mean([cosine_distance(*pair) for pair in pairs])
                losses.append((cosine_distance(cls, y.cls[i].tolist()) + of_patches) / 2)
            assert found.losses[t, i].item() == pytest.approx(mean(losses), rel=1e-5)
    assert torch.equal(found.cosines, full.cosines)  # the log shows those of the full width
