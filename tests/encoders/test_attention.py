import pytest
import torch
from torch import nn

from unic.encoders import build_encoder, load_encoder, place
from unic.encoders._attention import choose_attention

CPU = torch.device("cpu")


def fused(encoder: nn.Module) -> set[bool]:
    return {module.fused_attn for module in encoder.modules() if hasattr(module, "fused_attn")}


@pytest.mark.parametrize(
    ("uri", "precision", "expected"),
    [
        ("timm:test_vit?pretrained=false&img_size=32", "bf16", False),
        ("timm:test_vit?pretrained=false&img_size=32", "fp32", True),
        ("timm:test_vit?pretrained=false&img_size=640", "bf16", True),  # 1600 patches
    ],
)
def test_written_out_where_that_is_faster(uri, precision, expected):
    student = place(build_encoder(uri), CPU, precision)
    choose_attention(student, CPU)
    assert fused(student) == {expected}


def test_the_largest_views_count():
    student = place(build_encoder("timm:test_vit?pretrained=false&img_size=32"), CPU, "bf16")
    choose_attention(student, CPU, largest=640)
    assert fused(student) == {True}


def test_frozen_encoders_keep_the_kernel():
    assert fused(load_encoder("timm:test_vit?pretrained=false&img_size=32", precision="bf16")) == {True}


def test_the_tokens_are_those_of_the_fused_kernel():
    torch.manual_seed(0)
    encoder = place(build_encoder("timm:test_vit?pretrained=false&img_size=32"), CPU, "bf16").eval()
    choose_attention(encoder, CPU)
    images = torch.rand(2, 3, 32, 32)
    ours = encoder(images)
    for module in encoder.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = True
    theirs = encoder(images)
    encoder.precision = "fp32"
    exact = encoder(images).patches
    error, usual = ((each.patches - exact).norm() / exact.norm() for each in (ours, theirs))
    assert 0 < error < 2 * usual + 1e-3
