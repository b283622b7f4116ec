"""The transformer projector in loops over floats: x + γ1 ∘ Attention(LN(x)), x + γ2 ∘ MLP(LN(x)), then linear maps."""

from __future__ import annotations

from math import erf, exp, hypot, sqrt

import pytest
import torch
from torch import nn

from unic.encoders import build_encoder
from unic.losses import build_losses
from unic.projectors import build_projector
from unic.projectors.transformer import Projector
from unic.tokens import Tokens
from unic.training.distiller import Distiller

Vector = list[float]


def gelu(value: float) -> float:
    return value * (1 + erf(value / sqrt(2))) / 2


def affine(layer: nn.Linear, x: Vector) -> Vector:
    rows = zip(layer.weight.double().tolist(), layer.bias.double().tolist(), strict=True)
    return [sum(w * value for w, value in zip(row, x, strict=True)) + b for row, b in rows]


def normed(layer: nn.LayerNorm, x: Vector) -> Vector:
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    scaled = ((value - mean) / sqrt(variance + layer.eps) for value in x)
    pairs = zip(scaled, layer.weight.double().tolist(), layer.bias.double().tolist(), strict=True)
    return [value * w + b for value, w, b in pairs]


def attended(attention: nn.Module, xs: list[Vector]) -> list[Vector]:
    """Softmax attention of each token to all, head by head; rows of `qkv` are queries, keys and values in turn."""
    dim, heads = len(xs[0]), attention.num_heads
    each = dim // heads
    mixed: list[Vector] = [[] for _ in xs]
    parts = [affine(attention.qkv, x) for x in xs]
    for head in range(heads):
        place = slice(head * each, (head + 1) * each)
        queries, keys, values = ([part[dim * k :][:dim][place] for part in parts] for k in range(3))
        for out, query in zip(mixed, queries, strict=True):
            scores = [exp(sum(a * b for a, b in zip(query, key, strict=True)) / sqrt(each)) for key in keys]
            weights = [score / sum(scores) for score in scores]
            out += [sum(w * value[i] for w, value in zip(weights, values, strict=True)) for i in range(each)]
    return [affine(attention.proj, x) for x in mixed]


def after_block(projector: Projector, xs: list[Vector]) -> list[Vector]:
    block = projector.block
    for branch, gamma in (("attn", block.ls1.gamma), ("mlp", block.ls2.gamma)):
        if branch == "attn":
            changes = attended(block.attn, [normed(block.norm1, x) for x in xs])
        else:
            hidden = [[gelu(h) for h in affine(block.mlp.fc1, normed(block.norm2, x))] for x in xs]
            changes = [affine(block.mlp.fc2, h) for h in hidden]
        scale = gamma.double().tolist()
        xs = [
            [a + g * c for a, g, c in zip(x, scale, change, strict=True)] for x, change in zip(xs, changes, strict=True)
        ]
    return xs


@pytest.mark.parametrize(("dims", "num_patches"), [((128, 128), 6), ((128, 12), 6), ((128, 128), 0)])
def test_outputs_in_a_naive_loop(dims: tuple[int, int], num_patches: int) -> None:
    torch.manual_seed(0)
    projector = Projector([(8, 8), dims], (5, 7 if num_patches else 0), 128)
    for parameter in projector.parameters():
        nn.init.normal_(parameter, std=0.3)  # far enough from where it begins that each part shows
    assert projector.block.attn.num_heads == 2
    tokens = Tokens(torch.randn(2, dims[0]), torch.randn(2, num_patches, dims[1]), (2, 3) if num_patches else (0, 0))
    found = projector([tokens])
    for image in range(2):
        patches = tokens.patches[image].double().tolist()
        patches = [affine(projector.enter, x) for x in patches] if projector.enter else patches
        cls, *rest = after_block(projector, [tokens.cls[image].double().tolist(), *patches])
        assert found.cls[image].tolist() == pytest.approx(affine(projector.cls, cls), rel=1e-4, abs=1e-3)
        for place, x in enumerate(rest):
            expected = affine(projector.patch, x)
            assert found.patches[image, place].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_layer_scale_begins_at_1e_4_so_the_block_begins_as_the_identity() -> None:
    torch.manual_seed(0)
    projector = Projector([(64, 64)], (5, 7), 64)
    assert projector.block.ls1.gamma.tolist() == pytest.approx([1e-4] * 64)
    tokens = Tokens(torch.randn(2, 64), torch.randn(2, 6, 64), (2, 3))
    torch.testing.assert_close(projector([tokens]).cls, projector.cls(tokens.cls), atol=1e-3, rtol=0)


def test_nested_widths_in_a_naive_loop() -> None:
    """The loss at a width is that of the tokens with zeros in place of all further channels."""
    torch.manual_seed(0)
    student = build_encoder("timm:test_vit?pretrained=false&img_size=32").eval()
    projector = build_projector("transformer", list(student.block_dims), (5, 7), student.embed_dim, {})
    for parameter in projector.parameters():
        nn.init.normal_(parameter, std=0.2)
    blocks = range(len(student.block_dims))
    losses = {"a": build_losses({"cosine": 1.0}, (5, 7))}
    widths = [5, 16]
    nested = Distiller(student, {"a": projector}, losses, blocks, seed=0, widths=widths).eval()
    images, n = torch.rand(2, 3, 32, 32), student.grid[0] * student.grid[1]
    target = Tokens(torch.randn(2, 5), torch.randn(2, n, 7), student.grid)
    found = nested(images, {"a": target}, 1, torch.arange(2)).losses[0].tolist()
    last = student.intermediates(images, blocks)[-1]
    for image in range(2):
        expected = []
        for width in (*widths, student.embed_dim):
            tokens = torch.cat([last.cls[image][None], last.patches[image]]).double().tolist()
            cut = [[value if channel < width else 0.0 for channel, value in enumerate(x)] for x in tokens]
            cls, *rest = after_block(projector, cut)
            of_cls = cosine_distance(affine(projector.cls, cls), target.cls[image].tolist())
            pairs = zip(rest, target.patches[image].tolist(), strict=True)
            expected.append((of_cls + sum(cosine_distance(affine(projector.patch, x), y) for x, y in pairs) / n) / 2)
        assert found[image] == pytest.approx(sum(expected) / 3, rel=1e-5)


def cosine_distance(z: Vector, y: Vector) -> float:
    return 1 - sum(a * b for a, b in zip(z, y, strict=True)) / hypot(*z) / hypot(*y)
