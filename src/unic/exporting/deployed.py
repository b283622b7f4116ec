"""An encoder in the form of an exported graph: images in [0, 1] in, CLS and patch tokens out, normalisation inside.

A wrong normalisation is the usual fault of a deployed encoder, and a graph with its own normalisation cannot have it.
Resizing stays outside: every runtime has its own, and a graph for one size is the fastest.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unic import processes
from unic.encoders.base import Encoder
from unic.errors import InputError

INPUT, OUTPUTS = "images", ("cls", "patches")


class Deployed(nn.Module):
    """An encoder at its own input size.

    Args:
        encoder: in evaluation mode, on the CPU; it is copied, not changed.
        half: compute in float16; inputs and outputs stay float32.
    """

    def __init__(self, encoder: Encoder, *, half: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self.half_precision = half

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b n e"]]:
        x = (images - self.encoder.mean) / self.encoder.std
        tokens = self.encoder.encode(x.half() if self.half_precision else x)
        return tokens.cls.float(), tokens.patches.float()

    def example(self, images: Tensor | None = None) -> Float[Tensor, "b 3 h w"]:
        """The given images at the input size; default: two images of noise."""
        size = self.encoder.input_size
        if images is None:
            return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
        return F.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)


def difference(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> float:
    """The largest deviation of an output, relative to its largest value."""
    worst = 0.0
    for wanted, got in zip(expected, found, strict=True):
        scale = max(1.0, float(wanted.abs().max()))
        worst = max(worst, float((wanted - got).abs().max()) / scale)
    return worst


@torch.no_grad()
def rounding(model: Deployed, images: Float[Tensor, "b 3 h w"]) -> float:
    """The largest deviation of a float32 network from itself in float64, as `difference` measures it.

    Args:
        model: in float32.
        images: at its input size.
    """
    exact = copy.deepcopy(model).double()
    return difference(exact(images.double()), model(images))


def check_alone(kind: str, path: Path, images: Float[Tensor, "b 3 h w"], expected: tuple[Tensor, ...]) -> float:
    """Loads an export in a fresh process that cannot import unic, and compares its outputs.

    Args:
        kind: a key of `_LOADERS`.
        path: path of the export.
        images: in [0, 1]; for timm and transformers that process normalises them by the export's own config.
        expected: the outputs of the encoder.

    Returns:
        See `difference`.

    Raises:
        InputError: the export cannot be loaded there.
    """
    with TemporaryDirectory(prefix="unic-export-") as folder:
        np.save(Path(folder) / "images.npy", images.numpy())
        script = f"{_PROLOGUE}\n{_LOADERS[kind]}\n{_EPILOGUE}"
        with processes.lifeline() as stdin:
            command = [sys.executable, "-c", script, str(path.resolve()), folder]
            done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"export {path}: cannot be loaded without unic ({last})")
        found = [torch.from_numpy(np.load(Path(folder) / name)) for name in json.loads(done.stdout.splitlines()[-1])]
        return difference(expected[: len(found)], tuple(found))


_PROLOGUE = """
import json, os, sys, threading, warnings
threading.Thread(target=lambda: os.read(0, 1) or os._exit(1), daemon=True).start()  # ends with the parent process
sys.modules["unic"] = None  # any import of it fails
warnings.simplefilter("ignore")
import numpy as np
path, folder = sys.argv[1:]
images = np.load(folder + "/images.npy")
"""
_EPILOGUE = """
names = []
for index, output in enumerate(outputs):
    names.append(f"{index}.npy")
    np.save(folder + "/" + names[-1], np.asarray(output, dtype=np.float32))
print(json.dumps(names))
"""
_LOADERS = {
    "timm": """
import timm, torch
model = timm.create_model("local-dir:" + path, pretrained=True).eval()
config = timm.data.resolve_model_data_config(model)
mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
with torch.no_grad():
    outputs = [model((torch.from_numpy(images) - mean) / std).numpy()]
""",
    "transformers": """
import torch
from transformers import AutoImageProcessor, AutoModel
model, config = AutoModel.from_pretrained(path).eval(), AutoImageProcessor.from_pretrained(path).data_config
mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
with torch.no_grad():
    outputs = [model((torch.from_numpy(images) - mean) / std).pooler_output.numpy()]
""",
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
outputs = session.run(["cls", "patches"], {"images": images})
""",
    "torch_export": """
import torch
with torch.no_grad():
    outputs = [output.numpy() for output in torch.export.load(path).module()(torch.from_numpy(images))]
""",
}
