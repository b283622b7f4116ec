from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from packaging.version import Version
from PIL import Image

from unic._usage import onnx_usage, usage
from unic.encoders import build_encoder
from unic.encoders.timm_encoder import TimmEncoder
from unic.exporting.formats import write_graphs
from unic.exporting.timm import export_timm

IMAGES = torch.rand(2, 3, 50, 40, generator=torch.Generator().manual_seed(0))


def trained(uri: str, drop_path: float = 0.1) -> TimmEncoder:
    """An encoder whose every tensor differs from its initial value, as after training; frozen norms stay."""
    encoder = build_encoder(uri, drop_path=drop_path)
    assert isinstance(encoder, TimmEncoder)
    generator = torch.Generator().manual_seed(1)
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    for name, buffer in encoder.model.named_buffers():
        if "running" in name:
            buffer += 0.1 * torch.rand(buffer.shape, generator=generator)
    return encoder.eval()


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224?img_size=32",
        "vit_tiny_patch16_224?img_size=32x48&global_pool=avg",
        "deit3_small_patch16_224?img_size=32",
        "mobilenetv4_conv_small?img_size=64",
        "tf_efficientnet_lite0?img_size=64&mean=0.498&std=0.502",
        "convnext_atto?img_size=64",
        pytest.param(
            "swin_tiny_patch4_window7_224?img_size=64",
            marks=pytest.mark.skipif(
                Version(timm.__version__) < Version("1.0.31"),
                reason="earlier releases of timm misread a Swin without a classifier",
            ),
        ),
    ],
)
def test_timm_alone_gives_the_same_cls(tmp_path: Path, name: str) -> None:
    encoder = trained(f"timm:{name}&pretrained=false")
    folder = export_timm(encoder, tmp_path / "export", {"teachers": {"a": "pixels:8"}})
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    config = timm.data.resolve_model_data_config(model)
    assert tuple(config["input_size"]) == (3, *encoder.input_size)
    assert model.num_classes == 0
    resized = torch.nn.functional.interpolate(IMAGES, encoder.input_size, mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        torch.testing.assert_close(model((resized - mean) / std), encoder(IMAGES).cls, rtol=0, atol=1e-5)


def test_timm_s_own_transform_sees_the_whole_centre_square(tmp_path: Path) -> None:
    """Of 60 x 40 pixels the middle 40 x 40, as in training: nothing is cropped from them."""
    folder = export_timm(trained("timm:vit_tiny_patch16_224?img_size=32&pretrained=false"), tmp_path)
    config = timm.data.resolve_model_data_config(timm.create_model(f"local-dir:{folder}", pretrained=True))
    across, down = np.meshgrid(np.linspace(0, 255, 60), np.linspace(0, 255, 40))
    image = Image.fromarray(np.stack([across, down, 255 - down], axis=2).astype(np.uint8))
    square = image.crop((10, 0, 50, 40)).resize((32, 32), Image.Resampling.BICUBIC)
    seen = timm.data.create_transform(**config)(image)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    expected = torch.from_numpy(np.array(square)).permute(2, 0, 1).float()
    torch.testing.assert_close((seen * std + mean) * 255, expected, rtol=0, atol=2)  # of 255


def test_trained_norm_is_exported(tmp_path: Path) -> None:
    start = trained("timm:vit_tiny_patch16_224?img_size=32&pretrained=false")
    path = tmp_path / "start.pth"
    torch.save(start.model.state_dict(), path)
    encoder = trained(f"timm:vit_tiny_patch16_224?img_size=32&checkpoint={path}&mean=0.5&std=0.5")
    assert encoder.norm_last
    model = timm.create_model(f"local-dir:{export_timm(encoder, tmp_path / 'export')}", pretrained=True).eval()
    torch.testing.assert_close(model.norm.weight, encoder.model.norm.weight)
    assert not torch.equal(model.norm.weight, torch.ones_like(model.norm.weight))
    with torch.no_grad():
        torch.testing.assert_close(model(encoder.prepare(IMAGES)), encoder(IMAGES).cls, rtol=0, atol=1e-5)


def test_a_student_that_teaches_hands_its_licence_on(tmp_path: Path) -> None:
    encoder = trained("timm:vit_tiny_patch16_224?img_size=32&pretrained=false")
    export_timm(encoder, tmp_path, licence="CC-BY-NC-4.0")
    assert build_encoder(f"run:{tmp_path}").licence == "CC-BY-NC-4.0"


def test_config_says_what_others_rely_on(tmp_path: Path) -> None:
    encoder = trained("timm:vit_tiny_patch16_224?img_size=32&pretrained=false")
    folder = export_timm(encoder, tmp_path, {"licences": {"a": "MIT"}})
    config = json.loads((folder / "config.json").read_text())
    assert config["model_args"] == {"img_size": [32, 32]}  # neither num_classes nor drop path
    assert config["num_classes"] == 0
    assert config["unic"] == {"licences": {"a": "MIT"}}
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224?img_size=32", "mobilenetv4_conv_small?img_size=64"])
def test_export_takes_a_classifier_and_another_size(tmp_path: Path, name: str) -> None:
    encoder = trained(f"timm:{name}&pretrained=false")
    folder = export_timm(encoder, tmp_path)
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=7).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, *encoder.input_size)).shape == (1, 7)
        features = model.forward_head(model.forward_features(encoder.prepare(IMAGES)), pre_logits=True)
        torch.testing.assert_close(features, encoder(IMAGES).cls, rtol=0, atol=1e-5)


def test_usage_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = trained("timm:mobilenetv4_conv_small?img_size=64&pretrained=false")
    lines = usage(export_timm(encoder, tmp_path))
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (80, 70)).save("photo.jpg")
    scope: dict[str, Any] = {}
    exec(lines, scope)
    assert scope["cls"].shape == (1, 1280)


def test_usage_of_a_graph_runs(tmp_path: Path) -> None:
    encoder = trained("timm:test_vit?img_size=32&pretrained=false")
    folder = export_timm(encoder, tmp_path)
    write_graphs(encoder, folder, ["onnx"], IMAGES, check=False)
    scope: dict[str, Any] = {"image": Image.new("RGB", (40, 50), "red")}
    exec(onnx_usage(folder), scope)
    with torch.inference_mode():
        red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
        np.testing.assert_allclose(scope["cls"], encoder(red).cls, atol=1e-4)
    assert "widths/8/model.onnx: the first 8 channels" in onnx_usage(folder, [8, 16])
