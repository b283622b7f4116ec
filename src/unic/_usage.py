"""The lines of Python that use an exported student without unic."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from unic._regular_files import read_text
from unic._text import python_string


def usage(folder: Path, hub: str | None = None) -> str:
    """Lines of Python that load an export and encode an image, for the terminal, the model card and the report.

    Args:
        folder: folder of the export.
        hub: repository on the Hugging Face hub to load from, in place of the folder.
    """
    source = f"hf-hub:{hub}" if hub else f"local-dir:{folder.as_posix()}"
    return "\n".join(
        [
            "import timm",
            "from PIL import Image",
            'image = Image.open("photo.jpg").convert("RGB")',
            f"model = timm.create_model({python_string(source)}, pretrained=True).eval()",
            "cls = model(timm.data.create_transform(**timm.data.resolve_model_data_config(model))(image)[None])",
        ]
    )


def onnx_usage(folder: Path, widths: Sequence[int] = ()) -> str:
    """Lines of Python that run the ONNX graph of an export, for the terminal; they go on from those of `usage`.

    Args:
        folder: folder of the export.
        widths: nested widths that have graphs of their own.
    """
    _, height, width = json.loads(read_text(folder / "config.json"))["pretrained_cfg"]["input_size"]
    narrow = f"  # or widths/{widths[0]}/model.onnx: the first {widths[0]} channels" if widths else ""
    return "\n".join(
        [
            "import numpy, onnxruntime",
            f'pixels = numpy.asarray(image.resize(({width}, {height})), "float32").transpose(2, 0, 1)[None] / 255',
            f"session = onnxruntime.InferenceSession({python_string(f'{folder.as_posix()}/model.onnx')}){narrow}",
            'cls = session.run(["cls"], {"images": pixels})[0]',
        ]
    )
