from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from unic.encoders import build_encoder, load_encoder
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError
from unic.exporting.timm import export_timm


@pytest.mark.parametrize("inside", ["export", "."])
def test_equals_the_exported_encoder(tmp_path: Path, inside: str) -> None:
    uri = "timm:vit_tiny_patch16_224?img_size=32x48&global_pool=avg&pretrained=false&mean=0.4&std=0.3"
    encoder = build_encoder(uri).eval()
    assert isinstance(encoder, TimmEncoder)
    export_timm(encoder, tmp_path / inside)
    loaded = load_encoder(f"run:{tmp_path}", precision="fp32")
    images = torch.rand(2, 3, 40, 40)
    torch.testing.assert_close(loaded(images).cls, encoder(images).cls, rtol=0, atol=1e-5)
    torch.testing.assert_close(loaded(images).patches, encoder(images).patches, rtol=0, atol=1e-5)
    assert loaded.input_size == (32, 48)
    assert loaded.fingerprint() == encoder.fingerprint()
    student = build_encoder(f"run:{tmp_path}", drop_path=0.1)
    assert isinstance(student, TimmEncoder)
    assert student.norm_last


def test_another_input_size_resizes_the_position_embedding(tmp_path: Path) -> None:
    encoder = build_encoder("timm:vit_tiny_patch16_224?img_size=32&pretrained=false").eval()
    assert isinstance(encoder, TimmEncoder)
    export_timm(encoder, tmp_path)
    larger = load_encoder(f"run:{tmp_path}?img_size=64")
    assert larger.input_size == (64, 64)
    assert larger(torch.rand(1, 3, 64, 64)).grid == (4, 4)
    same = load_encoder(f"run:{tmp_path}?img_size=32", precision="fp32")
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(same(images).cls, encoder(images).cls, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="40.*patch"):
        load_encoder(f"run:{tmp_path}?img_size=40")


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_encoder(f"run:{tmp_path}/nothing")
    with pytest.raises(InputError, match="run.*export"):
        load_encoder(f"run:{tmp_path}")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match="unic export"):
        load_encoder(f"run:{tmp_path}")
    for text in ("{", "[]", json.dumps({"architecture": "resnet18", "pretrained_cfg": {"mean": [0, 0, 0]}})):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match="timm config"):
            load_encoder(f"run:{tmp_path}")
    config = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 32, 32]}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "pretrained_cfg": config}))
    with pytest.raises(InputError, match=r"no such file: .*model.safetensors"):
        load_encoder(f"run:{tmp_path}")
