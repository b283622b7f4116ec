"""The folder of an export: the paths of its files. Kept heads and narrower students are folders of graphs inside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportFolder:
    """The paths of the files and folders of an export, which need not exist.

    Args:
        path: the folder of the export, or a folder of graphs inside it.
    """

    path: Path

    @property
    def config(self) -> Path:
        """Architecture, input size, normalisation, provenance (JSON); written last."""
        return self.path / "config.json"

    @property
    def weights(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def onnx(self) -> Path:
        return self.path / "model.onnx"

    @property
    def onnx_half(self) -> Path:
        """ONNX in float16."""
        return self.path / "model_fp16.onnx"

    @property
    def torch_export(self) -> Path:
        return self.path / "model.pt2"

    @property
    def parity(self) -> Path:
        """How far the outputs of each checked file deviate from those of the trained encoder (JSON)."""
        return self.path / "parity.json"

    @property
    def card(self) -> Path:
        return self.path / "README.md"

    @property
    def heads(self) -> Path:
        return self.path / "heads"

    @property
    def widths(self) -> Path:
        return self.path / "widths"

    @property
    def beside_the_weights(self) -> tuple[Path, ...]:
        """The files that are made from the weights, and are outdated once these are replaced."""
        return self.onnx, self.onnx_half, self.torch_export, self.parity, self.heads, self.widths

    @property
    def is_complete(self) -> bool:
        return self.config.is_file()

    def head(self, teacher: str) -> Path:
        """A folder with the graphs of the student with the projector for a teacher, named like those of the student."""
        return self.heads / teacher

    def width(self, channels: int) -> Path:
        """A folder with the graphs of the student's first channels."""
        return self.widths / str(channels)

    def head_graphs(self) -> dict[str, Path]:
        """The ONNX graphs of heads that exist, by teacher."""
        return {file.parent.name: file for file in sorted(self.heads.glob(f"*/{self.onnx.name}"))}
