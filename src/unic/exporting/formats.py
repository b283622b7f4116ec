"""The export formats by name. Each export is compared with the encoder that it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unic.arguments import argument
from unic.encoders.base import Encoder
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError, nearest
from unic.exporting.deployed import Deployed, check_alone, rounding
from unic.exporting.onnx import export_onnx
from unic.exporting.torch_export import export_torch
from unic.runs.export_folder import ExportFolder

FORMATS: Mapping[str, str] = {
    "timm": "timm's own folder, also for transformers' AutoModel",
    "transformers": "the same folder, checked with AutoModel",
    "safetensors": "the same folder's weights",
    "onnx": "`images` in [0, 1] → `cls`, `patches`; normalisation inside",
    "torch_export": "the same as a torch.export program",
}
_PACKAGES: Mapping[str, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript")}
_CHECKED_WITH: Mapping[str, tuple[str, ...]] = {"onnx": ("onnxruntime",), "transformers": ("transformers",)}
_ODD = 33  # pixels added for a second input size, which no stride of a network divides
TOLERANCE = 1e-5  # of float32 exports, relative to the largest value of an output
_ROUNDINGS = 4  # outputs may also differ by so many times what rounding alone changes


@dataclass(frozen=True)
class Written:
    """One export. `deviation`: the largest one, relative to the largest value of its output; None if not checked."""

    format: str
    path: Path
    deviation: float | None


def check_formats(names: Sequence[str]) -> None:
    """Raises `InputError` for an unknown format, with the nearest name."""
    for name in names:
        if name not in FORMATS:
            raise InputError(f"{argument('formats', flag='--format')} '{name}'{nearest(name, FORMATS)}")


def check_options(
    encoder: Encoder,
    formats: Sequence[str],
    *,
    heads: Sequence[str],
    widths: Sequence[int],
    half: bool,
    dynamic_size: bool,
    check: bool,
) -> None:
    """Refuses exports that could not be written or checked, before anything is written.

    Args:
        encoder: the student.
        formats, heads, widths, half, dynamic_size, check: as of `unic.api.export`.

    Raises:
        InputError: an option without the format that it is for, a width that cuts nothing off, a ViT with
            `dynamic_size`, a package that is missing.
    """
    graphs = argument("formats", ["onnx"], flag="--format")
    for option, is_set in ((argument("half"), half), (argument("dynamic_size"), dynamic_size)):
        if is_set and "onnx" not in formats:
            raise InputError(f"{option}: it is an option of ONNX; add {graphs}, or leave it out")
    if dynamic_size and encoder.architecture == "vit":
        raise InputError(f"{argument('dynamic_size')}: a ViT's graph is for one input size; leave the option out")
    for option, what, asked_for in (
        (argument("heads"), "a head is exported as a graph", heads),
        (argument("widths", flag="--width"), "a timm folder has all channels, and only a graph can be cut", widths),
    ):
        if asked_for and not set(formats) & {"onnx", "torch_export"}:
            raise InputError(f"{option}: {what}; add {graphs} or torch_export")
    full = min(encoder.embed_dim, encoder.patch_dim)
    for width in widths:
        if not 0 < width < full:
            named = argument("widths", [width], flag="--width")
            raise InputError(f"{named}: expected fewer channels than the student's {full}, and at least 1")
    for name in formats:
        wanted = _PACKAGES.get(name, ()) + (_CHECKED_WITH.get(name, ()) if check else ())
        missing = [package for package in wanted if find_spec(package) is None]
        if missing:
            without = (
                ""
                if any(package in _PACKAGES.get(name, ()) for package in missing)
                else f" (or {argument('check', False, flag='--no-check')})"
            )
            asked = argument("formats", [name], flag="--format")
            raise InputError(f"{asked}: it needs {', '.join(missing)}; run: pip install {' '.join(missing)}{without}")


def write_graphs(
    encoder: Encoder,
    folder: Path,
    formats: Sequence[str],
    images: Float[Tensor, "b 3 h w"] | None,
    *,
    half: bool = False,
    dynamic_size: bool = False,
    check: bool = True,
) -> list[Written]:
    """Writes the graph formats of an encoder (a student, or a kept head of it).

    Args:
        encoder: to export.
        folder: that the files are written to.
        formats: names of formats; those that are no graphs are ignored.
        images: in [0, 1], to compare on; None: noise.
        half: also write ONNX in float16.
        dynamic_size: an ONNX graph for any input size.
        check: load each file in a fresh process without unic and compare.

    Raises:
        InputError: a graph cannot be made, or its float32 outputs differ by more than `TOLERANCE` and more than
            rounding explains.
    """
    written, files = [], ExportFolder(folder)
    writers: Mapping[str, Callable[[], Path]] = {
        "onnx": lambda: export_onnx(encoder, files.onnx, dynamic_size=dynamic_size),
        "torch_export": lambda: export_torch(encoder, files.torch_export),
    }
    for name in formats:
        if name in writers:
            path = writers[name]()
            written.append(_checked(name, path, encoder, images, check, any_size=dynamic_size and name == "onnx"))
    if half and "onnx" in formats:
        path = export_onnx(encoder, files.onnx_half, half=True, dynamic_size=dynamic_size)
        written.append(_checked("onnx", path, encoder, images, check, is_half=True, any_size=dynamic_size))
    return written


def check_folder(encoder: TimmEncoder, folder: Path, formats: Sequence[str], images: Tensor | None) -> list[Written]:
    """Compares the timm folder, and with "transformers" in `formats` also the model that AutoModel loads from it."""
    names = [name for name in ("timm", "transformers") if name == "timm" or name in formats]
    return [_checked(name, folder, encoder, images, True) for name in names]


def _checked(
    name: str,
    path: Path,
    encoder: Encoder,
    images: Tensor | None,
    check: bool,
    *,
    is_half: bool = False,
    any_size: bool = False,
) -> Written:
    if not check:
        return Written(name, path, None)
    model = Deployed(encoder).eval()
    views = [model.example(images)]
    if any_size:  # another size reveals a size that is fixed in the graph
        views.append(F.interpolate(views[0], [side + _ODD for side in encoder.input_size], mode="bilinear"))
    deviation = max(check_alone(name, path, view, model(view)) for view in views)
    if deviation > TOLERANCE and not is_half:
        limit = max(TOLERANCE, *(_ROUNDINGS * rounding(model, view) for view in views))
        if deviation > limit:
            raise InputError(
                f"export {path}: differs from the trained encoder by {deviation:.1e}, more than {limit:.1e}"
            )
    return Written(name, path, deviation)
