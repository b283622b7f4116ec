"""A check that an ONNX graph ends soon: a file of a few bytes can hold a `Loop` of 2^62 rounds.

Only `Loop` needs it. `Scan` goes over a tensor and `If` takes one branch, so their input bounds both.
https://onnx.ai/onnx/operators/onnx__Loop.html
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

_MOST = 10_000  # rounds of a loop, times those of the loops around it
_MOST_NODES = 1_000_000  # nodes to look at; those of a function count at each call


def endless_loop(model: Any) -> str | None:
    """The reason why a model may run for ever; None if it certainly ends soon.

    Args:
        model: `onnx.ModelProto`; constants in external files count as unknown.
    """
    functions = {(one.domain, one.name): one for one in model.functions}
    return _endless(model.graph, {}, 1, functions, 0, count())


def _endless(
    graph: Any, outer: dict[str, int], rounds: int, functions: dict[Any, Any], depth: int, looked_at: Iterator[int]
) -> str | None:
    if depth > 100:  # functions that call themselves, which ONNX forbids
        return "its functions or loops are nested too deeply"
    inputs = {one if isinstance(one, str) else one.name for one in graph.input}  # a function has names as inputs
    known = {**{name: value for name, value in outer.items() if name not in inputs}, **dict(_integers(graph))}
    for node in graph.node:
        if next(looked_at) > _MOST_NODES:
            return "its functions call each other too often"
        inner = rounds
        if node.op_type == "Loop" and node.domain in ("", "ai.onnx"):
            own_rounds = known.get(node.input[0]) if node.input and node.input[0] else None
            if own_rounds is None:
                return f"the number of rounds of its loop '{node.name or node.output[0]}' is not fixed in the file"
            inner = rounds * max(own_rounds, 1)
            if inner > _MOST:
                return f"its loop '{node.name or node.output[0]}' has {inner} rounds"
        called = functions.get((node.domain, node.op_type))
        bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        for body in [*bodies, *([called] if called else [])]:
            if reason := _endless(body, {} if body is called else known, inner, functions, depth + 1, looked_at):
                return reason
    return None


def _integers(graph: Any) -> Iterator[tuple[str, int]]:
    """Names and values of the integer constants in a graph or in a function, which has no initializers."""
    from onnx import TensorProto, numpy_helper

    tensors = [(tensor.name, tensor) for tensor in getattr(graph, "initializer", ())]
    tensors += [(node.output[0], one.t) for node in graph.node if node.op_type == "Constant" for one in node.attribute]
    for name, tensor in tensors:
        is_written = tensor.data_type == TensorProto.INT64 and tensor.data_location != TensorProto.EXTERNAL
        if is_written and list(tensor.dims) in ([], [1]):
            yield name, int(numpy_helper.to_array(tensor).reshape(-1)[0])
    for node in graph.node:
        if node.op_type == "Constant":
            # An attribute that refers to one of the function gets its value at the call.
            yield from (
                (node.output[0], one.i) for one in node.attribute if one.name == "value_int" and not one.ref_attr_name
            )
