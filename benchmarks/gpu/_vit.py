"""A ViT-S with seeded random weights in place of the packaged one, whose file is too large to be carried."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

NAME = "vit_small_patch14_dinov2"


def write_random_vit(folder: Path, size: int) -> str:
    """Writes the weights and returns the URI of the teacher."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(NAME, num_classes=0, img_size=size)
    file = folder / "random_vit.safetensors"
    save_file(model.state_dict(), file)
    return f"timm:{NAME}?checkpoint={file}&img_size={size}&mean=imagenet&std=imagenet"
