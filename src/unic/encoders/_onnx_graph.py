"""An ONNX graph as a torch module: its nodes run one after the other, its float constants are parameters.

Unlike an onnxruntime session it moves to a GPU, follows autocast and is saved with a state dict. It knows only the
operators that the packaged teachers use; `unic.encoders.schemes.onnx` runs every other graph in onnxruntime.
Semantics of the operators: https://onnx.ai/onnx/operators, opset 12.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import safetensors
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unic.errors import InputError, in_one_line


class OnnxGraph(nn.Module):
    """The part of a graph that leads from its only input to one tensor.

    Args:
        path: the ONNX file, or a safetensors file that holds the tensors and `description()` as its metadata.
        output: name of the tensor to return.

    Raises:
        InputError: the graph needs an operator that is not implemented here.
    """

    def __init__(self, path: Path, output: str) -> None:
        super().__init__()
        constants, self.input, self.nodes = (_stored if path.suffix == ".safetensors" else _parsed)(path, output)
        # `Shape` answers on the CPU and integer constants stay there: sizes must not be read back from a device.
        self.values: dict[str, Tensor] = {}
        self.weight_of: dict[str, str] = {}
        for name, array in constants:
            if array.is_floating_point():
                self.weight_of[name] = f"weight_{len(self.weight_of)}"
                self.register_parameter(self.weight_of[name], nn.Parameter(array, requires_grad=False))
            else:
                self.values[name] = array
        self.output = output
        for op, *_ in self.nodes:
            if op not in _OPERATORS:
                raise InputError(f"{path}: operator {op} cannot run in torch")
        used = {name for _, inputs, _, _ in self.nodes for name in inputs}
        for name in self.weight_of.keys() - used:
            delattr(self, self.weight_of.pop(name))
        self.last_use = {name: step for step, (_, inputs, _, _) in enumerate(self.nodes) for name in inputs}

    def description(self) -> dict[str, str]:
        """All but the weights, as the metadata of a safetensors file; `state_dict()` are its tensors."""
        values = {
            name: (str(value.dtype).removeprefix("torch."), value.tolist()) for name, value in self.values.items()
        }
        graph = {"input": self.input, "nodes": self.nodes, "values": values, "weights": self.weight_of}
        return {"graph": json.dumps(graph)}

    def forward(self, x: Tensor) -> Tensor:
        values = {self.input: x, **self.values}
        values.update((name, getattr(self, weight)) for name, weight in self.weight_of.items())
        for step, (op, inputs, output, attributes) in enumerate(self.nodes):
            values[output] = _OPERATORS[op](*(values[name] for name in inputs), **attributes)
            for name in set(inputs):
                if self.last_use[name] == step:  # all activations of 400 nodes would not fit into memory
                    del values[name]
        return values[self.output]


Node = tuple[str, list[str], str, dict[str, Any]]


def _parsed(path: Path, output: str) -> tuple[Iterable[tuple[str, Tensor]], str, list[Node]]:
    import onnx

    graph = onnx.load(path).graph
    return _constants(graph), graph.input[0].name, [_read(node) for node in _ancestors(graph, output)]


def _stored(path: Path, output: str) -> tuple[Iterable[tuple[str, Tensor]], str, list[Node]]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            graph = json.loads(file.metadata()["graph"])
            constants = [(name, file.get_tensor(weight).float()) for name, weight in graph["weights"].items()]
        constants += [
            (name, torch.tensor(value, dtype=getattr(torch, kind))) for name, (kind, value) in graph["values"].items()
        ]
        nodes: list[Node] = [tuple(node) for node in graph["nodes"]]
        if nodes[-1][2] != output:
            raise ValueError(f"it ends at {nodes[-1][2]}, not at {output}")
        return constants, graph["input"], nodes
    except Exception as error:  # a file of something else breaks a reader in any way
        raise InputError(f"{path}: no stored graph ({in_one_line(error)})") from None


def _constants(graph: Any) -> list[tuple[str, Tensor]]:
    from onnx import numpy_helper

    tensors = [(tensor.name, tensor) for tensor in graph.initializer]
    tensors += [(node.output[0], node.attribute[0].t) for node in graph.node if node.op_type == "Constant"]
    return [(name, torch.from_numpy(numpy_helper.to_array(tensor).copy())) for name, tensor in tensors]


def _ancestors(graph: Any, output: str) -> list[Any]:
    """The nodes that `output` depends on, in the order of the graph, which ONNX requires to be topological."""
    needed, nodes = {output}, []
    for node in reversed(graph.node):
        if node.op_type != "Constant" and needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    return nodes[::-1]


def _read(node: Any) -> Node:
    from onnx import helper

    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return node.op_type, list(node.input), node.output[0], attributes


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    strides: list[int],
    pads: list[int],
    dilations: list[int],
    group: int,
    kernel_shape: list[int],
) -> Tensor:
    half = len(pads) // 2
    if pads[:half] != pads[half:]:  # ONNX lists the beginnings, then the ends; F.pad goes from the last axis backwards
        x = F.pad(x, [side for pair in reversed(list(zip(pads[:half], pads[half:], strict=True))) for side in pair])
        pads = [0] * len(pads)
    return F.conv2d(x, weight, bias, strides, pads[:half], dilations, group)


def _average_pool(
    x: Tensor, *, kernel_shape: list[int], strides: list[int], pads: list[int], ceil_mode: int, count_include_pad: int
) -> Tensor:
    return F.avg_pool2d(x, kernel_shape, strides, pads[: len(pads) // 2], bool(ceil_mode), bool(count_include_pad))


def _batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, *, epsilon: float = 1e-5, momentum: float = 0.9
) -> Tensor:
    return F.batch_norm(x, mean, var, weight, bias, eps=epsilon)


def _reshape(x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(shape.tolist())])


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
    index = [slice(None)] * x.ndim
    axis_list = range(len(starts)) if axes is None else axes.tolist()
    step_list = [1] * len(starts) if steps is None else steps.tolist()
    for axis, start, end, step in zip(axis_list, starts.tolist(), ends.tolist(), step_list, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def _cast(x: Tensor, *, to: int) -> Tensor:
    return x.to({1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool}[to])


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": torch.clamp,
    "Concat": lambda *xs, axis: torch.cat(xs, dim=axis),
    "Conv": _conv,
    "Div": torch.div,
    "GlobalAveragePool": lambda x: x.mean(dim=(2, 3), keepdim=True),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: (alpha * x + beta).clamp(0, 1),
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Pow": torch.pow,
    "ReduceMean": lambda x, axes, keepdims=1: x.mean(dim=axes, keepdim=bool(keepdims)),
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Shape": lambda x: torch.tensor(x.shape),
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Softmax": lambda x, axis: x.softmax(dim=axis),
    "Sqrt": torch.sqrt,
    "Squeeze": lambda x, axes: x.squeeze(dim=tuple(axes)),
    "Sub": torch.sub,
    "Transpose": lambda x, perm: x.permute(perm),
}
