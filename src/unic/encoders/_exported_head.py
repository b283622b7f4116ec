"""A kept head from an export: the ONNX graph in `heads/T/`, whose two outputs are CLS and patches in T's space.

The graph contains its normalisation and has one input size.
"""

from __future__ import annotations

import json
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from unic.device import default_device
from unic.encoders import build_encoder, place
from unic.encoders.base import Encoder
from unic.tokens import Tokens


class ExportedHead(Encoder):
    """CLS and patches of one graph.

    Args:
        file: the graph.
        cls, patches: the graph, opened once for each output.
    """

    architecture = "cnn"  # as of `OnnxEncoder`
    can_compile = False

    def __init__(self, file: Path, cls: Encoder, patches: Encoder) -> None:
        super().__init__((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.uri = f"onnx:{file}"
        self.cls, self.patches = cls, patches
        self.input_size = patches.input_size
        self.embed_dim, self.patch_dim = cls.embed_dim, patches.patch_dim

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        found = self.patches.encode(x)
        return Tokens(self.cls.encode(x).cls, found.patches, found.grid)

    def describe(self) -> str:
        return json.dumps([self.cls.describe(), self.patches.describe()])


def load_exported_head(file: Path) -> Encoder:
    """The head of a graph, frozen, on the GPU if there is one.

    Raises:
        InputError: the file is not a graph of this kind.
    """
    cls, patches = (build_encoder(f"onnx:{file}?output={output}") for output in ("cls", "patches&num_prefix_tokens=0"))
    return place(ExportedHead(file, cls, patches), default_device()).freeze()
