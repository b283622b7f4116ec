"""torch.export: one `.pt2` file that `torch.export.load(path).module()(images)` runs, without timm."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from unic.encoders.base import Encoder
from unic.errors import InputError, first_line_of
from unic.exporting.deployed import Deployed


def export_torch(encoder: Encoder, path: Path) -> Path:
    """Writes the program: images in [0, 1] at the input size, any batch size → (cls, patches).

    Raises:
        InputError: the encoder cannot be traced.
    """
    model = Deployed(encoder).eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            shapes = {"images": {0: torch.export.Dim.DYNAMIC}}
            # `strict` was the default before torch 2.7; it fails on code that only checks its arguments.
            program = torch.export.export(model, (model.example(),), dynamic_shapes=shapes, strict=False)
            torch.export.save(program, path)
    except Exception as error:  # the tracer's errors run over pages
        path.unlink(missing_ok=True)
        reason = first_line_of(error)
        raise InputError(f"export: this encoder cannot be written as a torch.export program ({reason})") from None
    return path
