from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from unic.encoders import build_encoder, load_encoder
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=0, img_size=32)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_equals_a_checkpoint_of_timm(weights: Path) -> None:
    options = "img_size=32&mean=0.4&std=0.3"
    encoder = load_encoder(f"safetensors:{weights}?arch=test_vit&{options}", precision="fp32")
    same = load_encoder(f"timm:test_vit?checkpoint={weights}&{options}", precision="fp32")
    images = torch.rand(2, 3, 40, 40)
    torch.testing.assert_close(encoder(images).cls, same(images).cls, rtol=0, atol=0)
    torch.testing.assert_close(encoder(images).patches, same(images).patches, rtol=0, atol=0)
    assert encoder.fingerprint() == same.fingerprint()
    assert encoder.uri.startswith("safetensors:")
    assert load_encoder(f"safetensors:{weights}?arch=test_vit&img_size=48&mean=0.4&std=0.3").input_size == (48, 48)


def test_as_a_student_it_is_a_pretrained_start(weights: Path) -> None:
    student = build_encoder(f"safetensors:{weights}?arch=test_vit&img_size=32&mean=0.4&std=0.3", drop_path=0.1)
    assert isinstance(student, TimmEncoder)
    assert (student.from_scratch, student.norm_last) == (False, True)


def test_errors(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="timm.*arch="):
        load_encoder(f"safetensors:{weights}")
    with pytest.raises(InputError, match="timm.*'test_vitt'"):
        load_encoder(f"safetensors:{weights}?arch=test_vitt")
    with pytest.raises(InputError, match="'archi'.*'arch'"):
        load_encoder(f"safetensors:{weights}?archi=test_vit")
    with pytest.raises(InputError, match="weights do not fit"):
        load_encoder(f"safetensors:{weights}?arch=resnet18")
    with pytest.raises(InputError, match="no such file"):
        load_encoder(f"safetensors:{tmp_path}/nothing.safetensors?arch=test_vit")
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"\.safetensors.*timm:NAME\?checkpoint="):
        load_encoder(f"safetensors:{tmp_path}/weights.pth?arch=test_vit")
