"""What an encoder takes: floats in [0, 1]. Integers are refused always, another range at the first call."""

from __future__ import annotations

import os

import pytest
import torch
from launcher import Launcher
from torch import Tensor

from unic.encoders import build_encoder, load_encoder
from unic.errors import InputError

BYTES = torch.arange(2 * 3 * 32 * 32, dtype=torch.int32).remainder(256).view(2, 3, 32, 32)
IMAGES = BYTES / 255
VIT = "timm:test_vit?pretrained=false&img_size=32"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
@pytest.mark.parametrize("uri", [VIT, "pixels:8"])
def test_integer_images_are_refused_at_every_call(uri: str, dtype: torch.dtype) -> None:
    encoder = load_encoder(uri)
    for _ in range(2):
        with pytest.raises(InputError, match=r"floats in \[0, 1\], not torch\.\w+") as caught:
            encoder(BYTES.to(dtype))
        assert str(caught.value).startswith(f"encoder '{uri}': ")
        assert "\n" not in str(caught.value)
        encoder(IMAGES)


@pytest.mark.usefixtures("unchecked")
def test_blocks_of_a_student_too() -> None:
    student = build_encoder(VIT)
    with pytest.raises(InputError, match="not torch.uint8"):
        student.intermediates(BYTES.to(torch.uint8), [0])
    with pytest.raises(InputError, match="not from 0 to 255"):
        student.intermediates(BYTES.float(), [0])


@pytest.mark.parametrize(
    "wrong", [IMAGES * 255, IMAGES * 2 - 1, (IMAGES - 0.485) / 0.229], ids=["bytes", "pm1", "norm"]
)
def test_another_range_is_refused_until_an_image_was_seen(wrong: Tensor) -> None:
    encoder = load_encoder("pixels:8")
    for _ in range(2):
        with pytest.raises(InputError, match=r"\[0, 1\], not from -?\d.* to \d"):
            encoder(wrong)
    encoder(IMAGES)
    encoder(wrong)  # not looked at any more: that would be a wait for the device in every step


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_any_precision_pass_and_so_do_overshoots_of_a_resizing(dtype: torch.dtype) -> None:
    load_encoder("pixels:32")((IMAGES * 1.4 - 0.2).to(dtype))
    load_encoder("pixels:32")(IMAGES[:0].to(dtype))


def test_only_the_first_call_reads_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_encoder(VIT, precision="fp32")

    def refuse(self: Tensor, *arguments: object) -> None:
        raise AssertionError("a tensor was read by the host")

    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "numpy", "__bool__", "__float__"):
            patch.setattr(Tensor, name, refuse)
        with pytest.raises(AssertionError, match="read by the host"):
            encoder(IMAGES)
    encoder(IMAGES)
    for name in ("item", "tolist", "numpy", "__bool__", "__float__"):
        monkeypatch.setattr(Tensor, name, refuse)
    encoder(IMAGES)


COMPILED = f"""
import torch
from unic.encoders import load_encoder

encoder = load_encoder({VIT!r}, precision="fp32")
compiled = torch.compile(encoder, backend="eager", fullgraph=True)
images = torch.rand(2, 3, 32, 32)
with torch.no_grad():
    torch.testing.assert_close(compiled(images).cls, encoder(images).cls)
    compiled(images)
encoder((255 * images).to(torch.uint8))
"""


def test_a_compiled_encoder_is_one_graph_from_its_first_call_on(launch: Launcher) -> None:
    """In a process of its own: the shapes that tests check would break the graph."""
    process = launch("-c", COMPILED, env=os.environ)
    output, _ = process.communicate(timeout=120)
    assert (process.returncode, "not torch.uint8" in output.splitlines()[-1]) == (1, True), output
