"""Which of an ONNX graph's tokens are patches, and their grid: read off its patch embedding, or said by the user.

A patch embedding is a convolution whose kernel equals its stride. It tells the patch size; the grid is the input size
over the patch size, and the tokens that are left over stand before the patches: a class token and registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unic.encoders import Spec
from unic.errors import InputError
from unic.tokens import Grid

# A patch embedding behind one of these cuts something else than the image into patches.
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
"""Under this key in its metadata an export says what grid its `patches` are: ROWSxCOLUMNS."""


@dataclass(frozen=True)
class Split:
    """A sequence of tokens: `num_prefix` of them, the class token first, then `grid` patches row by row."""

    num_prefix: int
    grid: Grid


def split_of(spec: Spec, num_tokens: int, size: tuple[int, int], model: Any, output: str) -> Split:
    """The split by the options `grid` and `num_prefix_tokens`, and by the patch size where they are not given.

    Args:
        num_tokens: that the tensor `output` has for one image of `size` pixels.
        model: the ONNX model.

    Raises:
        InputError: the options, or the patch size, do not make that many tokens.
    """
    number = spec.options.get("num_prefix_tokens")
    if number is not None and not number.isdigit():
        raise InputError(f"encoder '{spec.uri}': option 'num_prefix_tokens' must be a number, not '{number}'")
    stored = _stored_grid(model) if output == "patches" and number is None else None
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
    if min(grid) < 1 or num_prefix < 0 or (number is not None and num_prefix != int(number)):
        prefix = "" if number is None else f" and num_prefix_tokens={number}"
        raise InputError(
            f"encoder '{spec.uri}': its {num_tokens} tokens do not come out with {source}{prefix}; "
            "give grid=HEIGHTxWIDTH, the grid of its patches, and num_prefix_tokens, the tokens before them"
        )
    return Split(num_prefix, grid)


def square_split(num_tokens: int) -> Split:
    """What earlier versions took: a class token and a square, else a square, else a sequence, a grid of one row."""
    side, side_without_cls = round(num_tokens**0.5), round((num_tokens - 1) ** 0.5)
    if num_tokens > 1 and side_without_cls**2 == num_tokens - 1:
        return Split(1, (side_without_cls, side_without_cls))
    return Split(0, (side, side) if side * side == num_tokens else (1, num_tokens))


def _stored_grid(model: Any) -> Grid | None:
    """The grid of `patches` in an export of a student, which its shape alone does not tell."""
    text = next((entry.value for entry in model.metadata_props if entry.key == GRID), "")
    rows, _, columns = text.partition("x")
    return (int(rows), int(columns)) if rows.isdigit() and columns.isdigit() else None


def patch_size_of(graph: Any, output: str) -> tuple[int, int] | None:
    """Kernel of the first convolution on the way to `output` whose kernel equals its stride.

    None without one, and where padding or a layer before it makes the grid another than input size / patch size.
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
    """Kernel and strides of a convolution; of other nodes, nothing."""
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
