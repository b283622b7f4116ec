"""ONNX: `images (B, 3, H, W)` in [0, 1] → `cls (B, D)`, `patches (B, N, E)`; any batch size, one input size."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from torch import nn

from unic.arguments import argument
from unic.encoders._onnx_tokens import GRID
from unic.encoders.base import Encoder
from unic.errors import InputError, first_line_of
from unic.exporting.deployed import INPUT, OUTPUTS, Deployed

_OPSET = 18  # of a trace; the exporter's own choice elsewhere


def export_onnx(encoder: Encoder, path: Path, *, half: bool = False, dynamic_size: bool = False) -> Path:
    """Writes the graph of an encoder.

    Args:
        encoder: to export; it is not changed.
        path: path of the file.
        half: float16 weights and arithmetic; inputs and outputs stay float32.
        dynamic_size: height and width are free as well (CNNs only: a ViT's position embedding is for one size).

    Returns:
        The path.

    Raises:
        InputError: onnx or onnxscript is not installed, or the encoder has no such graph.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (the exporter needs it, and says so much later)
    except ImportError as error:
        raise InputError(f"export: ONNX needs {error.name}; run: pip install onnx onnxscript onnxruntime") from None
    if dynamic_size and encoder.architecture == "vit":
        raise InputError(f"export: a ViT's graph is for one input size; leave out {argument('dynamic_size', True)}")
    model = Deployed(copy.deepcopy(encoder).half() if half else encoder, half=half).eval()
    free: dict[int, object] = {0: torch.export.Dim("batch")}
    if dynamic_size:
        free |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _quiet(), torch.no_grad():
            rows, columns = encoder(model.example()).grid
            names: dict[str, Any] = {"input_names": [INPUT], "output_names": list(OUTPUTS)}
            if _only_traces() or (dynamic_size and _pads_by_size(model)):
                axes = {INPUT: {0: "batch", 2: "height", 3: "width"} if dynamic_size else {0: "batch"}}
                torch.onnx.export(
                    model, (model.example(),), str(path), **names, dynamo=False, dynamic_axes=axes, opset_version=_OPSET
                )
            else:
                torch.onnx.export(
                    model, (model.example(),), str(path), **names, dynamo=True, dynamic_shapes={"images": free},
                    external_data=False, verbose=False,
                )  # fmt: skip
    except Exception as error:  # the exporter's errors run over pages
        path.unlink(missing_ok=True)
        raise InputError(f"export: this encoder cannot be written as an ONNX graph ({first_line_of(error)})") from None
    if not dynamic_size:  # the shape of `patches` does not tell their grid
        graph = onnx.load(path)
        onnx.helper.set_model_props(graph, {GRID: f"{rows}x{columns}"})
        onnx.save(graph, path)
    return path


def _only_traces() -> bool:
    """Whether torch is 2.6, whose new exporter writes graphs that do not load; a trace gives right ones."""
    return torch.__version__ < "2.7"


def _pads_by_size(model: nn.Module) -> bool:
    """Whether padding depends on the size of its input, as TensorFlow's does ("same").

    torch.export then carries formulas of the size from layer to layer, which grow until they take hours. A trace
    computes the padding in the graph, in seconds.
    """
    kinds = (Conv2dSame, MaxPool2dSame, AvgPool2dSame)
    # timm's convolutions with standardised weights have an attribute instead.
    return any(isinstance(module, kinds) or getattr(module, "same_pad", False) for module in model.modules())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter, which logs, warns and prints; its failures are exceptions."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
