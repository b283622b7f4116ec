"""Patches of timm's families: one grid, row by row, and no class token among them.

Two things are held against the code: how many patches there are, and what each corner of the grid sees. By its gradient
a patch sees most of what lies at its own place; a class token, or a grid that is turned, sees something else.
"""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

from unic.encoders import Encoder, load_encoder
from unic.encoders.timm import TimmEncoder
from unic.errors import InputError
from unic.tokens import Grid

# Families with odd tokens, as small as timm makes them: arguments, grid, and whether there is a class token.
ODD: dict[str, tuple[dict[str, Any], Grid, bool]] = {
    "cait_xxs24_224": ({"depth": 1, "img_size": (32, 64)}, (2, 4), True),
    "coat_lite_tiny": (
        {"serial_depths": [1, 1, 1, 1], "embed_dims": [16, 16, 32, 32], "img_size": (64, 128)}, (2, 4), True,
    ),
    "deit_tiny_distilled_patch16_224": ({"depth": 1, "img_size": (32, 64)}, (2, 4), True),
    "hiera_tiny_224": ({"embed_dim": 16, "stages": (1, 1, 1, 1)}, (7, 7), False),
    "test_vit_relpos": ({"depth": 1, "img_size": (32, 64)}, (2, 4), False),
    "twins_svt_small": ({"depths": [1, 1, 1, 1], "img_size": (64, 128)}, (2, 4), False),
    "vit_relpos_base_patch16_cls_224": ({"depth": 1, "embed_dim": 96, "num_heads": 3, "img_size": (32, 64)}, (2, 4), True),
    "vit_relpos_base_patch16_clsgap_224": (
        {"depth": 1, "embed_dim": 96, "num_heads": 3, "img_size": (32, 64)}, (2, 4), False,
    ),
    "volo": (
        {"layers": (1, 1, 1, 1), "embed_dims": (24, 48, 48, 48), "num_heads": (1, 2, 2, 2), "img_size": (64, 128)},
        (4, 8), True,
    ),
    "xcit_nano_12_p16_224": ({"depth": 1}, (14, 14), True),
}  # fmt: skip


def encoder_of(name: str, **args: Any) -> TimmEncoder:
    torch.manual_seed(0)
    # timm's names of VOLO fix its depths.
    model: Any = (
        timm.models.VOLO(num_classes=0, **args) if name == "volo" else timm.create_model(name, num_classes=0, **args)
    )
    return TimmEncoder(model.eval(), name, {}, args.get("img_size") or model.pretrained_cfg["input_size"][1:])


def seen(encoder: Encoder, number: int) -> torch.Tensor:
    """The share of a patch's gradient in each quadrant of the image, `(2, 2)`."""
    height, width = encoder.input_size
    images = torch.rand(1, 3, height, width, requires_grad=True)
    patches = encoder(images).patches
    (patches[0, number] @ torch.randn(patches.shape[-1])).backward()
    assert images.grad is not None
    energy = images.grad.square().sum(dim=(0, 1)).double()
    return energy.reshape(2, height // 2, 2, width // 2).sum(dim=(1, 3)) / energy.sum()


def check_corners(encoder: Encoder) -> None:
    rows, columns = encoder(torch.rand(1, 3, *encoder.input_size)).grid
    for row, column in ((0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1)):
        share = seen(encoder, row * columns + column)
        assert share[min(row, 1), min(column, 1)] > 0.5, (encoder.name, row, column, share)


@pytest.mark.parametrize("name", ODD)
def test_odd_tokens(name: str) -> None:
    args, grid, has_cls = ODD[name]
    encoder = encoder_of(name, **args)
    assert (encoder.grid, encoder.has_cls) == (grid, has_cls)
    tokens = encoder(torch.rand(2, 3, *encoder.input_size))
    assert tokens.grid == grid
    assert tokens.patches.shape[:2] == (2, grid[0] * grid[1])
    check_corners(encoder)


def test_a_turned_grid_and_a_class_token_would_be_found() -> None:
    """What `check_corners` is there for."""
    encoder = encoder_of("vit_tiny_patch16_224", depth=1, img_size=(64, 64))
    check_corners(encoder)
    encoder.num_prefix_tokens, encoder.grid = 0, (1, 17)
    with pytest.raises(AssertionError):
        check_corners(encoder)
    turned = encoder_of("convnext_atto", depths=(1, 1, 1, 1))
    whole = turned.model.forward_features
    turned.model.forward_features = lambda x: whole(x).mT
    with pytest.raises(AssertionError):
        check_corners(turned)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pit_ti_224", "are class tokens alone"),
        ("pit_ti_distilled_224", "are class tokens alone"),
        ("crossvit_tiny_240", "are a list, of several scales"),
        ("coat_tiny", "are a list, of several scales"),
    ],
)
def test_no_grid_is_one_line(name: str, reason: str) -> None:
    with pytest.raises(
        InputError, match=rf"^timm model '{name}': its features {reason}.*; expected one grid of patches$"
    ):
        load_encoder(f"timm:{name}?pretrained=false")
