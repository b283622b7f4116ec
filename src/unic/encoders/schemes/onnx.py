"""Any ONNX file as a frozen teacher: `onnx:PATH[?output=&size=&layout=&channels=&mean=&std=&scale=&grid=&…]`.

x = (image · scale − mean) / std with image in [0, 1]; mean 0, std 1; scale 1, or 255 where the graph takes integers.
The graph runs in onnxruntime.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unic.encoders import Spec
from unic.encoders._onnx_loops import endless_loop
from unic.encoders._onnx_tokens import split_of, square_split
from unic.encoders.base import NORMALISATIONS, Encoder
from unic.encoders.onnx_encoder import ImageLayout, OnnxEncoder
from unic.errors import InputError, nearest, reason_of


def load(spec: Spec) -> Encoder:
    """Opens the graph and reads one of its tensors.

    Options, all with defaults from the graph:
        output: name of any tensor; default: the first output of float type.
        size: input size; default: the static size of the graph, else 224.
        layout: nchw or nhwc; default: by the place of the 3 in the input's shape.
        channels: rgb (default) or bgr, the order of channels in the graph's input.
        mean, std: in RGB order, in the units of the scaled image, or the name of a usual pair.
        scale: 255 for graphs that take 0..255; default: 255 if the input is an integer, else 1.
        num_prefix_tokens, grid: number of tokens before the patches, and grid of the patches.

    Raises:
        InputError: unreadable file, wrong option, a graph that does not run at this size, images outside the range of
            its integers, or tokens that cannot be split into prefix and patches.
    """
    encoder, graph, empty = _opened(spec)
    if empty.ndim == 3:
        encoder.split = split_of(spec, empty.shape[1], encoder.input_size, graph.model, encoder.output)
    for key in spec.options.keys() & {"num_prefix_tokens", "grid"} if empty.ndim != 3 else ():
        what = "vector" if empty.ndim == 2 else "map"
        raise InputError(f"encoder '{spec.uri}': option '{key}' needs tokens, but '{encoder.output}' is a {what}")
    encoder.measure(empty)
    return encoder


def options_before(spec: Spec) -> dict[str, str]:
    """The options with which a graph gives what earlier versions without them gave, see `unic.encoders._old_rules`."""
    options = {"scale": "1"} if np.issubdtype(_Graph(spec).dtype, np.integer) else {}
    _, _, empty = _opened(replace(spec, options=options | spec.options))
    if empty.ndim == 3:
        split = square_split(empty.shape[1])
        options |= {"num_prefix_tokens": str(split.num_prefix), "grid": "x".join(map(str, split.grid))}
    return options


def _opened(spec: Spec) -> tuple[OnnxEncoder, _Graph, Tensor]:
    """The graph as an encoder that has no split of tokens yet, the graph itself, and its output for an empty image."""
    spec.check("output", "size", "layout", "channels", "mean", "std", "scale", "num_prefix_tokens", "grid")
    graph = _Graph(spec)
    layout = _choice(spec, "layout", graph.layout, ("nchw", "nhwc"))
    size = spec.size("size", graph.size(layout) or (224, 224))
    if graph.size(layout) not in (None, size):
        raise InputError(f"encoder '{spec.uri}': the graph takes only size {graph.size(layout)}, not {size}")
    mean, std = _normalisation(spec, graph.dtype)
    encoder = OnnxEncoder(
        graph.path,
        graph.output(spec.options.get("output")),
        size,
        mean=mean,
        std=std,
        layout="nhwc" if layout == "nhwc" else "nchw",
        is_bgr=_choice(spec, "channels", "rgb", ("rgb", "bgr")) == "bgr",
        batch_size=graph.batch_size,
    )
    try:
        empty = encoder.tap(torch.zeros(1, 3, *size))
    except Exception as error:  # onnxruntime raises classes of its C++ module
        raise InputError(f"encoder '{spec.uri}': the graph does not run ({reason_of(error)})") from None
    if empty.ndim not in (2, 3, 4):
        shape = tuple(empty.shape)
        raise InputError(f"encoder '{spec.uri}': '{encoder.output}' has the shape {shape}; expected rank 2, 3 or 4")
    return encoder, graph, empty


def _normalisation(spec: Spec, dtype: np.dtype[Any]) -> tuple[list[float], list[float]]:
    """Mean and std for images in [0, 1].

    Raises:
        InputError: a wrong option, or normalised images outside the range of the graph's integers.
    """
    is_integer = np.issubdtype(dtype, np.integer)
    scales = spec.floats("scale", (255.0 if is_integer else 1.0,) * 3)

    def floats(key: str, default: float, which: int) -> tuple[float, ...]:
        # Named pairs are for images in [0, 1], numbers in the URI for scaled images.
        named = {
            name: tuple(value * scale for value, scale in zip(pair[which], scales, strict=True))
            for name, pair in NORMALISATIONS.items()
        }
        return spec.floats(key, (default,) * 3, named)

    mean, std = floats("mean", 0.0, 0), floats("std", 1.0, 1)
    if 0 in (*scales, *std):
        raise InputError(f"encoder '{spec.uri}': options 'std' and 'scale' must not be 0")
    if is_integer:
        limits = np.iinfo(dtype)
        ends = [(end * scale - m) / s for end in (0, 1) for scale, m, s in zip(scales, mean, std, strict=True)]
        # Images that are normalised and then rounded would have only a few values, such as 0, 1 and 2.
        is_coarse = "scale" not in spec.options and max(ends) - min(ends) < _LEVELS
        if min(ends) < limits.min - 0.5 or max(ends) > limits.max + 0.5 or is_coarse:
            raise InputError(
                f"encoder '{spec.uri}': its input is {dtype}, {limits.min} to {limits.max}, but images would range "
                f"from {min(ends):.4g} to {max(ends):.4g}; set scale, mean and std"
            )
    return (
        [value / scale for value, scale in zip(mean, scales, strict=True)],
        [value / scale for value, scale in zip(std, scales, strict=True)],
    )


def _choice(spec: Spec, key: str, default: str, valid: tuple[str, ...]) -> str:
    value = spec.options.get(key, default)
    if value not in valid:
        raise InputError(f"encoder '{spec.uri}': option '{key}' cannot be '{value}'{nearest(value, valid)}")
    return value


class _Graph:
    """An ONNX file: its graph, input and tensors."""

    def __init__(self, spec: Spec) -> None:
        onnx = _import(spec.uri)
        self.uri = spec.uri
        self.path = Path(spec.name).expanduser()
        if not self.path.is_file():
            raise InputError(f"encoder '{spec.uri}': no such file: {self.path}")
        try:
            self.model = onnx.load(self.path, load_external_data=False)
        except Exception as error:  # protobuf's DecodeError, a class that depends on its version
            raise InputError(f"encoder '{spec.uri}': not an ONNX file ({error})") from None
        if reason := endless_loop(self.model):
            raise InputError(f"encoder '{spec.uri}': it may run forever: {reason}; export the graph without loops")
        self.graph = self.model.graph
        weights = {tensor.name for tensor in self.graph.initializer}
        inputs = [value for value in self.graph.input if value.name not in weights]
        shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs]  # 0: dynamic
        if len(shapes) != 1 or len(shapes[0]) != 4:
            raise InputError(f"encoder '{spec.uri}': expected one input of rank 4 (images), not {shapes}")
        self.shape = shapes[0]
        self.dtype = onnx.helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type)
        self.batch_size = self.shape[0] or None
        self.layout: ImageLayout = "nhwc" if self.shape[3] == 3 and self.shape[1] != 3 else "nchw"

    def size(self, layout: str) -> tuple[int, int] | None:
        height, width = self.shape[2:] if layout == "nchw" else self.shape[1:3]
        return (height, width) if height and width else None

    def output(self, name: str | None) -> str:
        outputs = [value.name for value in self.graph.output]
        if name is None:
            floats = [value.name for value in self.graph.output if value.type.tensor_type.elem_type in _FLOATS]
            return (floats or outputs)[0]
        tensors = [*outputs, *(tensor for node in self.graph.node for tensor in node.output if tensor)]
        if name not in tensors:
            raise InputError(f"encoder '{self.uri}': the graph has no tensor '{name}'{_nearest_tensor(name, tensors)}")
        return name


_LEVELS = 128  # fewest integer values that an image should have
_FLOATS = frozenset({1, 10, 11, 16})  # onnx.TensorProto: FLOAT, FLOAT16, DOUBLE, BFLOAT16


def _nearest_tensor(name: str, tensors: list[str]) -> str:
    # A graph has thousands of tensors, too many to list; the last ones are the most likely to be meant.
    text = nearest(name, tensors)
    return text if text.startswith("; did you mean") else f"; the last ones are: {', '.join(tensors[-3:])}"


def _import(uri: str) -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401  the session needs it later, but a missing package must be an error now
    except ImportError:
        raise InputError(f"encoder '{uri}': needs onnx and onnxruntime; run: pip install onnx onnxruntime") from None
    return onnx
