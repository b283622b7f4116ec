"""An ONNX graph as a frozen encoder, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unic.encoders._onnx_files import content_of
from unic.encoders._onnx_tokens import Split, square_split
from unic.encoders.base import Encoder
from unic.tokens import Grid, Tokens, patches_of

ImageLayout = Literal["nchw", "nhwc"]


class OnnxEncoder(Encoder):
    """A graph whose tensor `output` is read. The rank of the tensor decides what it is.

    - Rank 2, `(B, D)`: a CLS, which is also the only patch.
    - Rank 3, `(B, N, D)`: tokens, with prefix and grid as in `split`.
    - Rank 4: a map, NCHW or NHWC.

    Without a CLS, `cls` is the mean of the patches.
    """

    can_compile = False
    architecture = "cnn"  # so that the automatic precision is fp32 on a CPU; onnxruntime ignores autocast

    def __init__(
        self,
        path: Path,
        output: str,
        input_size: tuple[int, int],
        *,
        mean: list[float],
        std: list[float],
        layout: ImageLayout = "nchw",
        is_bgr: bool = False,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(mean, std)
        self.path = path
        self.output = output
        self.input_size = input_size
        self.layout = layout
        self.is_bgr = is_bgr
        self.batch_size = batch_size
        self.split: Split | None = None  # set for a tensor of rank 3
        self.content = content_of(path)
        self._session: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}  # a session cannot be copied; a copy of the encoder opens a new one

    def describe(self) -> str:
        described = (self.content, self.output, self.layout, self.is_bgr)
        split = self.split
        if split is None or split == square_split(split.num_prefix + split.grid[0] * split.grid[1]):
            # The description of earlier versions, which had no split: their caches and runs stay valid.
            return repr(described)
        return repr((*described, split.num_prefix, split.grid))

    def measure(self, empty: Tensor) -> None:
        """Sets `embed_dim`, `patch_dim` and `has_cls` from the tensor for one empty image."""
        cls, patches, _ = self._parts(empty)
        self.has_cls = cls is not None
        self.patch_dim = patches.shape[-1]
        self.embed_dim = self.patch_dim if cls is None else cls.shape[-1]

    def tap(self, x: Float[Tensor, "b 3 h w"]) -> Tensor:
        """The tensor `output` of a batch of images, of rank 2 to 4."""
        x = x.flip(1) if self.is_bgr else x
        array = x.detach().float().cpu().numpy()
        array = self._run(array if self.layout == "nchw" else array.transpose(0, 2, 3, 1))
        return torch.from_numpy(array).to(x.device, torch.float32)

    def encode(self, x: Float[Tensor, "b 3 h w"]) -> Tokens:
        cls, patches, grid = self._parts(self.tap(x))
        return Tokens(patches.mean(dim=1) if cls is None else cls, patches, grid)

    def _parts(self, y: Tensor) -> tuple[Tensor | None, Tensor, Grid]:
        if y.ndim == 2:
            return y, y[:, None], (1, 1)
        if y.ndim == 4:
            features = y.permute(0, 3, 1, 2) if self._is_nhwc(y) else y
            return None, patches_of(features), (features.shape[2], features.shape[3])
        assert self.split is not None
        num_prefix = self.split.num_prefix
        return y[:, 0] if num_prefix else None, y[:, num_prefix:], self.split.grid

    def _is_nhwc(self, y: Tensor) -> bool:
        # Converters may change the layout inside a graph. So the equal sides of the map, H and W, decide first.
        _, a, b, c = y.shape
        return a == b if (a == b) != (b == c) else self.layout == "nhwc"

    def _run(self, x: np.ndarray) -> np.ndarray:
        """Runs the graph on a batch of any size. A graph with a fixed batch size gets pieces, the last one padded."""
        session = self._open()
        piece = self.batch_size or max(len(x), 1)
        name, dtype = session.get_inputs()[0].name, _DTYPES.get(session.get_inputs()[0].type, np.float32)
        x = np.ascontiguousarray(np.rint(x) if np.issubdtype(dtype, np.integer) else x, dtype=dtype)
        results = []
        for start in range(0, len(x), piece):
            part = x[start : start + piece]
            missing = piece - len(part) if self.batch_size else 0
            padded = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            results.append(session.run([self.output], {name: padded})[0][: len(part)])
        return np.concatenate(results)

    def _open(self) -> Any:
        if self._session is None:
            import onnx
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3  # shape warnings of cut graphs
            model = onnx.load(self.path, load_external_data=False)
            source: str | bytes = str(self.path)
            if self.output not in {value.name for value in model.graph.output}:
                del model.graph.output[:]
                model.graph.output.append(onnx.ValueInfoProto(name=self.output))
                onnx.load_external_data_for_model(model, str(self.path.parent))
                source = model.SerializeToString()
            wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
            providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
            self._session = onnxruntime.InferenceSession(source, options, providers=providers)
        return self._session


_DTYPES: dict[str, Any] = {"tensor(float16)": np.float16, "tensor(double)": np.float64} | {
    f"tensor({name})": np.dtype(name)
    for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
}
