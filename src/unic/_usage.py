"""The lines of Python that use an exported student without unic."""

from __future__ import annotations

from pathlib import Path

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
