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
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError
from unic.tokens import Grid

NARROW = {"depth": 1, "embed_dim": 96, "num_heads": 3, "img_size": (32, 64)}
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
    "vit_relpos_base_patch16_cls_224": (NARROW, (2, 4), True),
    "vit_relpos_base_patch16_clsgap_224": (NARROW, (2, 4), False),
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
    size = args.get("img_size") or model.pretrained_cfg["input_size"][1:]
    # Frozen, as teachers are: some families keep what their attention adds from one evaluation to the next, with its
    # graph where weights learn, so that a second backward pass would meet a graph that is gone.
    return TimmEncoder(model, name, {}, size).eval().freeze()


def skip_unknown(name: str) -> None:
    """The lowest timm that is declared does not have every model of the newest."""
    if name != "volo" and not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no model {name}")


def seen(encoder: Encoder, number: int) -> torch.Tensor:
    """The share of a patch's gradient in each quadrant of the image, `(2, 2)`."""
    height, width = encoder.input_size
    images = torch.rand(1, 3, height, width, requires_grad=True)
    patches = encoder(images).patches
    (patches[0, number] @ torch.randn(patches.shape[-1])).backward()
    assert images.grad is not None
    energy = images.grad.square().sum(dim=(0, 1)).double()[: height // 2 * 2, : width // 2 * 2]
    return energy.reshape(2, height // 2, 2, width // 2).sum(dim=(1, 3)) / energy.sum()


def check_corners(encoder: Encoder, least: float = 0.4) -> None:
    """`least` is the smallest share of a corner's own quadrant; where nothing is told apart it is a quarter."""
    rows, columns = encoder(torch.rand(1, 3, *encoder.input_size)).grid
    for row, column in ((0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1)):
        share = seen(encoder, row * columns + column)
        own = share[min(row, 1), min(column, 1)]
        assert own == share.max() > least, (encoder.name, row, column, share)


@pytest.mark.parametrize("name", ODD)
def test_odd_tokens(name: str) -> None:
    skip_unknown(name)
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
        ("pit_ti_224", "class tokens"),
        ("pit_ti_distilled_224", "class tokens"),
        ("crossvit_tiny_240", "several scales"),
        ("coat_tiny", "several scales"),
        ("efficientvim_m1", "several scales"),
    ],
)
def test_no_grid_is_one_line(name: str, reason: str) -> None:
    skip_unknown(name)
    with pytest.raises(InputError, match=rf"^timm model '{name}': .*{reason}.*grid of patches"):
        load_encoder(f"timm:{name}?pretrained=false")


def test_no_vector_of_an_image_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As timm's vision parts of language models, which are large."""

    def refuses(*_: Any) -> None:
        raise NotImplementedError("no classification")

    monkeypatch.setattr(timm.models.VisionTransformer, "forward_head", refuses)
    with pytest.raises(InputError, match="^timm model 'test_vit': .*no vector.*no classification"):
        load_encoder("timm:test_vit?pretrained=false")


# The smallest model of each module of timm that is not too large; what cannot be an encoder, and why.
FAMILIES = {
    "byoanet": "halonet_h1", "byobnet": "test_byobnet", "cait": "cait_xxs24_224", "coat": "coat_lite_tiny",
    "convit": "convit_tiny", "convmixer": "convmixer_768_32", "convnext": "test_convnext",
    "cpubone": "cpubone_nano", "csatv2": "csatv2", "cspnet": "cs3darknet_focus_s", "cspnext": "cspnext_tiny",
    "davit": "davit_tiny", "deit": "deit_tiny_patch16_224", "densenet": "densenet121", "dla": "dla34",
    "dpn": "dpn68", "edgenext": "edgenext_xx_small", "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0", "efficientnet": "test_efficientnet",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0", "eva": "eva02_tiny_patch14_224", "fasternet": "fasternet_t0",
    "fastvit": "fastvit_s12", "focalnet": "focalnet_tiny_srf", "gcvit": "gcvit_xxtiny", "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b", "hgnet": "hgnetv2_b0", "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny", "hrnet": "hrnet_w18_small", "iformer": "iformer_s",
    "inception_next": "inception_next_atto", "inception_v3": "inception_v3", "lcnetv2": "lcnetv2_small",
    "levit": "levit_128s", "lowformer": "lowformer_b0", "mambaout": "test_mambaout", "maxxvit": "test_coatnet",
    "metaformer": "poolformer_s12", "mlp_mixer": "mixer_s32_224", "mobilenetv3": "mobilenetv3_small_050",
    "mobilevit": "mobilevit_xxs", "mvitv2": "mvitv2_tiny", "nest": "nest_tiny", "nextvit": "nextvit_small",
    "nfnet": "test_nfnet", "pvt_v2": "pvt_v2_b0", "rdnet": "rdnet_tiny", "regnet": "regnetx_002",
    "repghost": "repghostnet_050", "repvit": "repvit_m1", "res2net": "res2next50", "resnest": "resnest14d",
    "resnet": "test_resnet", "resnetv2": "resnetv2_50", "rexnet": "rexnet_100", "selecsls": "selecsls42",
    "senet": "legacy_seresnet18", "sequencer": "sequencer2d_s", "shvit": "shvit_s1", "sknet": "skresnet18",
    "starnet": "starnet_s1", "swiftformer": "swiftformer_xs", "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256", "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224", "tnt": "tnt_s_patch16_224", "tresnet": "tresnet_m", "twins": "twins_svt_small",
    "visformer": "visformer_tiny", "vision_transformer": "test_vit",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224", "vision_transformer_relpos": "test_vit_relpos",
    "vitamin": "vitamin_small_224", "volo": "volo_d1_224", "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "legacy_xception", "xception_aligned": "xception41p", "xcit": "xcit_nano_12_p8_224",
}  # fmt: skip
# Of these the smallest is large: one block of it.
ONE_BLOCK = (
    "beit_base_patch16_224", "deepseek_vit_412m", "gemma4_vit_167m", "naflexvit_base_patch16_gap", "qwen3_vit_88m",
    "samvit_base_patch16_224",
)  # fmt: skip
# Every cell sees the whole image from early on, so that only the number of patches can be looked at.
MIXES = {
    "cpubone_nano", "efficientformerv2_s0", "efficientvit_b0", "levit_128s", "lowformer_b0", "mobilevit_xxs",
    "tiny_vit_5m_224", "visformer_tiny",
}  # fmt: skip
LEAST = {"inception_v3": 0.3}  # its 8 x 8 cells see most of the image


@pytest.mark.long
@pytest.mark.parametrize("name", [*FAMILIES.values(), *ONE_BLOCK])
def test_every_family(name: str) -> None:
    encoder = encoder_of(name, **({"depth": 1} if name in ONE_BLOCK else {}))
    tokens = encoder(torch.rand(1, 3, *encoder.input_size))
    assert tokens.patches.shape[1] == tokens.grid[0] * tokens.grid[1]
    assert tokens.grid[0] == tokens.grid[1]  # as the images
    if name not in MIXES:
        check_corners(encoder, LEAST.get(name, 0.4))
