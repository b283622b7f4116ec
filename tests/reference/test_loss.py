"""The losses, and ℓ[t, i] of a teacher and an image, against METHOD §4 in a float64 loop."""

from __future__ import annotations

import math

import pytest
import torch

from unic.encoders import build_encoder
from unic.losses import build_losses, cosine, mse, smooth_l1
from unic.projectors import build_projector
from unic.tokens import Tokens
from unic.training.distiller import Distiller


def cosine_distance(z: list[float], y: list[float]) -> float:
    return 1 - sum(p * q for p, q in zip(z, y, strict=True)) / math.hypot(*z) / math.hypot(*y)


def smooth_l1_of(z: list[float], y: list[float]) -> float:
    deltas = [abs(p - q) for p, q in zip(z, y, strict=True)]
    return sum(d * d / 2 if d < 1 else d - 0.5 for d in deltas) / len(deltas)


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def test_each_loss_of_several_tokens() -> None:
    torch.manual_seed(0)
    z, y = torch.randn(2, 3, 4, dtype=torch.float64) * 2, torch.randn(2, 3, 4, dtype=torch.float64)
    for image in range(2):
        tokens = list(zip(z[image].tolist(), y[image].tolist(), strict=True))
        assert cosine.loss(z, y)[image].item() == pytest.approx(mean([cosine_distance(*pair) for pair in tokens]))
        assert smooth_l1.loss(z, y)[image].item() == pytest.approx(mean([smooth_l1_of(*pair) for pair in tokens]))
        squares = [(p - q) ** 2 for pair in tokens for p, q in zip(*pair, strict=True)]
        assert mse.loss(z, y)[image].item() == pytest.approx(mean(squares))


def test_matrix_of_teachers_and_images() -> None:
    torch.manual_seed(0)
    student = build_encoder("timm:test_vit?pretrained=false&img_size=32").eval()
    dims = {"a": (5, 7), "b": (3, 3)}
    projectors = {
        name: build_projector("ladder", list(student.block_dims), widths, student.embed_dim, {})
        for name, widths in dims.items()
    }
    for parameter in (p for projector in projectors.values() for p in projector.parameters()):
        torch.nn.init.normal_(parameter, std=0.2)  # predictions as large as targets: both branches of smooth L1
    blocks = range(len(student.block_dims))
    losses = {name: build_losses({"cosine": 0.5, "smooth_l1": 0.5}, widths) for name, widths in dims.items()}
    distiller = Distiller(student, projectors, losses, blocks, seed=0).eval()
    images, index = torch.rand(3, 3, 32, 32), torch.arange(3)
    n = student.grid[0] * student.grid[1]
    targets = {name: Tokens(torch.randn(3, c), torch.randn(3, n, p), student.grid) for name, (c, p) in dims.items()}
    losses, cosines, *_ = distiller(images, targets, 1, index)
    rungs = student.intermediates(images, blocks)

    def token_loss(z: list[float], y: list[float]) -> float:
        return 0.5 * cosine_distance(z, y) + 0.5 * smooth_l1_of(z, y)

    for t, name in enumerate(dims):
        z, y = projectors[name](rungs), targets[name]
        patch_cosines = []
        for i in range(3):
            cls = token_loss(z.cls[i].tolist(), y.cls[i].tolist())
            pairs = list(zip(z.patches[i].tolist(), y.patches[i].tolist(), strict=True))
            patches = mean([token_loss(*pair) for pair in pairs])
            assert losses[t, i].item() == pytest.approx((cls + patches) / 2, rel=1e-5)
            patch_cosines += [1 - cosine_distance(*pair) for pair in pairs]
        assert cosines[t, 1].item() == pytest.approx(mean(patch_cosines), abs=1e-5)
