"""Patches among an ONNX graph's tokens, and their grid: from the patch embedding, or from options of the URI.

A patch embedding is a convolution whose kernel equals its stride, which is the patch size. The grid is the input size
divided by the patch size. The remaining tokens stand before the patches: a class token and registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unic.encoders import Spec
from unic.errors import InputError
from unic.tokens import Grid

# Behind one of these, a convolution cuts patches from something other than the image.
_RESIZING = frozenset(
    {
        "AveragePool",
        "DepthToSpace",
        "GlobalAveragePool",
        "LpPool",
        "MaxPool",
        "Pad",
        "Resize",
        "SpaceToDepth",
        "Upsample",
    }
)

GRID = "unic.grid"
"""Metadata key under which an export of unic stores the grid of its output `patches`: ROWSxCOLUMNS."""


@dataclass(frozen=True)
class Split:
    """A sequence of tokens: `num_prefix` of them, the class token first, then `grid` patches row by row."""

    num_prefix: int
    grid: Grid


def split_of(spec: Spec, num_tokens: int, size: tuple[int, int], model: Any, output: str) -> Split:
    """The split by the options `grid` and `num_prefix_tokens`, or by the patch size if they are not given.

    Args:
        spec: the URI.
        num_tokens: number of tokens in the tensor `output` for one image.
        size: height and width of that image in pixels.
        model: the ONNX model.
        output: name of the tensor.

    Raises:
        InputError: the number of tokens does not agree with the options or with the patch size.
    """
    given = spec.options.get("num_prefix_tokens")
    if given is not None and not given.isdigit():
        raise InputError(f"encoder '{spec.uri}': option 'num_prefix_tokens' must be a number, not '{given}'")
    stored = _stored_grid(model) if output == "patches" and given is None else None
    patch_size = patch_size_of(model.graph, output)
    if "grid" in spec.options or stored:
        grid = spec.size("grid", stored or (0, 0))
        source = f"a grid of {_by(grid)}"
    elif patch_size is not None:
        grid = size[0] // patch_size[0], size[1] // patch_size[1]
        source = f"patches of {_by(patch_size)} pixels, a grid of {_by(grid)},"
    else:
        grid, source = (0, 0), "no patch embedding"
    num_prefix = num_tokens - grid[0] * grid[1]
    if min(grid) < 1 or num_prefix < 0 or (given is not None and num_prefix != int(given)):
        prefix = "" if given is None else f" and num_prefix_tokens={given}"
        raise InputError(
            f"encoder '{spec.uri}': cannot split its {num_tokens} tokens with {source}{prefix}; set "
            "grid=HEIGHTxWIDTH, the grid of the patches, and num_prefix_tokens, the number of tokens before them"
        )
    return Split(num_prefix, grid)


def square_split(num_tokens: int) -> Split:
    """The split that earlier versions guessed: class token and square, else square alone, else a grid of one row."""
    side, side_without_cls = round(num_tokens**0.5), round((num_tokens - 1) ** 0.5)
    if num_tokens > 1 and side_without_cls**2 == num_tokens - 1:
        return Split(1, (side_without_cls, side_without_cls))
    return Split(0, (side, side) if side * side == num_tokens else (1, num_tokens))


def _stored_grid(model: Any) -> Grid | None:
    """The grid of `patches` as an export of a student stores it; None in other graphs."""
    text = next((entry.value for entry in model.metadata_props if entry.key == GRID), "")
    rows, _, columns = text.partition("x")
    return (int(rows), int(columns)) if rows.isdigit() and columns.isdigit() else None


def patch_size_of(graph: Any, output: str) -> tuple[int, int] | None:
    """Kernel of the first convolution on the way to `output` whose kernel equals its stride.

    None without such a convolution, or if padding or an earlier layer changes the grid from input size / patch size.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in _before(graph, [output]):
        kernel, strides = _window(node, shapes)
        if node.op_type != "Conv" or kernel != strides or max(kernel, default=1) == 1:
            continue
        changes = any(
            earlier.op_type in _RESIZING or max(_window(earlier, shapes)[1], default=1) > 1
            for earlier in _before(graph, node.input[:1])
        )
        return None if len(kernel) != 2 or any(_attribute(node, "pads", ())) or changes else (kernel[0], kernel[1])
    return None


def _before(graph: Any, tensors: list[str]) -> Iterator[Any]:
    """The nodes that lead to `tensors`, in the order of the graph, which ONNX requires to be topological."""
    needed, nodes = set(tensors), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    return reversed(nodes)


def _window(node: Any, shapes: dict[str, tuple[int, ...]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Kernel and strides of a convolution; empty for other nodes."""
    if node.op_type not in ("Conv", "QLinearConv", "ConvInteger"):
        return (), ()
    weight = node.input[3 if node.op_type == "QLinearConv" else 1]
    kernel = tuple(_attribute(node, "kernel_shape", shapes.get(weight, ())[2:]))
    return kernel, tuple(_attribute(node, "strides", (1,) * len(kernel)))


def _attribute(node: Any, name: str, default: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
