"""A finished student: `run:DIR[?img_size=SIZE&width=N]`; DIR is a run folder (its `export/` is used) or an export.

Only `config.json` and `model.safetensors` are read, and no code of the run is executed: of the arguments in
`config.json` only those are allowed that describe a network (`_model_args`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unic._regular_files import read_json
from unic.encoders import Encoder, Spec
from unic.encoders._cut import CutEncoder
from unic.encoders._model_args import check_model_args
from unic.encoders._weights import load_weights, read_state_dict
from unic.encoders.schemes.timm import check_name, create
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError, reason_of
from unic.runs.export_folder import ExportFolder
from unic.runs.folder import RunFolder, nearest_folder, trainings_in


def load(spec: Spec, *, drop_path: float = 0.0) -> Encoder:
    """The exported model with its input size and normalisation; its outputs equal those of the trained encoder.

    As a student it is a pretrained start. `img_size` sets another input size, for dense tasks; position embeddings are
    then resized. `width` keeps the first channels only (`student.widths`); such an encoder cannot be a student.

    Raises:
        InputError: no such folder, nothing exported yet, or files that do not fit each other.
    """
    spec.check("img_size", "width")
    channels = spec.count("width")
    files = export_folder(spec)
    architecture, model_args, config = _read_config(spec, files.config)
    check_name(spec.uri, architecture)
    size = spec.size("img_size", (0, 0)) if "img_size" in spec.options else None
    where = f"encoder '{spec.uri}'"
    try:
        model = create(spec.uri, architecture, model_args, size=size, drop_path=drop_path)
    except InputError:
        raise
    except Exception as error:  # timm raises many kinds for impossible arguments
        reason = reason_of(error)
        raise InputError(f"{where}: timm cannot build the model of {files.config} ({reason})") from None
    load_weights(model, read_state_dict(files.weights, where, model), where)
    height, width = size or config["input_size"][1:]
    encoder = TimmEncoder(
        model,
        architecture,
        model_args,
        (height, width),
        mean=config["mean"],
        std=config["std"],
        licence=config.get("license"),
    )
    encoder.uri = spec.uri
    return encoder if channels is None else CutEncoder(encoder, channels)


def export_folder(spec: Spec) -> ExportFolder:
    """Folder of the exported files: `DIR/export` or `DIR`.

    Raises:
        InputError: no such folder, or it has no exported files.
    """
    root = Path(spec.name).expanduser()
    if not root.is_dir():
        raise InputError(f"encoder '{spec.uri}': no such folder: {root}{nearest_folder(root)}")
    run = RunFolder(root)
    for folder in (run.export, root):
        if (files := ExportFolder(folder)).is_complete:
            return files
    if run.checkpoints.is_dir():
        raise InputError(
            f"encoder '{spec.uri}': this run is not exported yet; run: unic export {root} --to {run.export}"
        )
    if trainings := trainings_in(root):
        names = ", ".join(f"run:{path}" for path in trainings.values())
        raise InputError(f"encoder '{spec.uri}': the folder holds several trainings; name one of them: {names}")
    raise InputError(f"encoder '{spec.uri}': {root} is neither a run nor an export, as it has no config.json")


def _read_config(spec: Spec, path: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    try:
        tree = read_json(path)
        architecture, config = str(tree["architecture"]), dict(tree["pretrained_cfg"])
        missing = {"input_size", "mean", "std"} - config.keys()
        if missing:
            raise KeyError(*sorted(missing))
        model_args = dict(tree.get("model_args") or {})
        channels, height, width = config["input_size"] = [int(side) for side in config["input_size"]]
        numbers = [[float(value) for value in config[key]] for key in ("mean", "std")]
        if channels != 3 or min(height, width) < 1 or any(len(values) != 3 for values in numbers) or 0 in numbers[1]:
            raise ValueError("input_size, mean or std")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"encoder '{spec.uri}': {path} is not a timm config ({error!r})") from None
    check_model_args(f"encoder '{spec.uri}': {path}", model_args)
    return architecture, model_args, config
