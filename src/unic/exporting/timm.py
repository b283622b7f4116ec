"""timm's own folder: `config.json` and `model.safetensors`, for `timm.create_model("local-dir:DIR", pretrained=True)`.

Its `model(x)`, with x resized and normalised as `pretrained_cfg` says, is the CLS of the trained encoder. The ladder is
not exported. The final norm is, whether it was trained or frozen at (1, 0).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

from unic.encoders.timm_encoder import TimmEncoder
from unic.files import write_text, written
from unic.runs.export_folder import ExportFolder


def export_timm(
    encoder: TimmEncoder, folder: Path, extra: Mapping[str, Any] | None = None, *, licence: str | None = None
) -> Path:
    """Writes the encoder; existing files of the same names are replaced.

    Args:
        encoder: trained or loaded; it is not changed.
        folder: made if it does not exist.
        extra: provenance (teachers, licences, recipe, …), JSON values; stands under `unic` in `config.json`, where
            neither timm nor transformers looks.
        licence: licence of the student, if known; encoders distilled from it inherit it.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.model.state_dict().items()}
    # Weights first, so that a folder with a config is a complete one.
    with written(ExportFolder(folder).weights) as partial:
        safetensors.torch.save_file(weights, partial, metadata={"format": "pt"})
    config = timm_config(encoder)
    if licence:
        config["pretrained_cfg"]["license"] = licence
    text = json.dumps({**config, "unic": dict(extra or {})}, indent=2)
    write_text(ExportFolder(folder).config, text + "\n")
    return folder


def timm_config(encoder: TimmEncoder) -> dict[str, Any]:
    """The content of `config.json`, as timm's `save_for_hf` would write it.

    timm's function does not serve here: `num_classes` must not be among `model_args` (transformers passes both and
    fails), and `pretrained_cfg` must have the size and normalisation of this student, not those of the architecture.
    """
    original = encoder.model.pretrained_cfg
    is_fixed = bool(original.get("fixed_input_size"))
    model_args = dict(encoder.model_args)
    if is_fixed:
        model_args["img_size"] = list(encoder.input_size)
    pretrained_cfg: dict[str, Any] = {
        "custom_load": False,
        "input_size": [3, *encoder.input_size],
        "fixed_input_size": is_fixed,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": encoder.mean.flatten().tolist(),
        "std": encoder.std.flatten().tolist(),
        "num_classes": 0,
        "pool_size": None if encoder.architecture == "vit" else list(encoder.grid),
        "first_conv": original.get("first_conv"),
        "classifier": original.get("classifier"),
    }
    return {
        "architecture": encoder.name,
        "num_classes": 0,
        "num_features": encoder.model.num_features,
        "model_args": model_args,
        "pretrained_cfg": pretrained_cfg,
    }
