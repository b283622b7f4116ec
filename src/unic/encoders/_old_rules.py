"""URIs of runs that earlier versions of unic began, with the numbers written out that those versions guessed.

Earlier versions guessed that
- a weight file, and random weights, have the mean and std of the architecture's default weights;
- an ONNX graph that takes integers wants images in [0, 1];
- a square number of tokens is a grid, with or without a class token.
"""

from __future__ import annotations

from unic import lookup
from unic.encoders import Spec, as_options, parse_uri
from unic.encoders._origin import published
from unic.encoders.base import IMAGENET_MEAN, IMAGENET_STD
from unic.encoders.schemes.safetensors import as_timm
from unic.errors import InputError


def as_before(uri: str) -> str:
    """The URI that now means what `uri` meant to earlier versions; `uri` itself if that is the same, or on an error."""
    spec = parse_uri(uri)
    rule = {"timm": _timm, "safetensors": _safetensors, "onnx": _onnx, "open_clip": _open_clip}.get(spec.scheme)
    try:
        return spec.completed(rule(spec)) if rule else uri
    except InputError:  # the same error is shown when the model is loaded
        return uri


def _timm(spec: Spec) -> dict[str, str]:
    if "checkpoint" not in spec.options and spec.flag("pretrained", True):
        return {}
    default = published(spec.name)
    numbers = spec.mean_std(default.mean, default.std)
    is_same = "checkpoint" not in spec.options and numbers == spec.mean_std(IMAGENET_MEAN, IMAGENET_STD)
    return {} if is_same else as_options(*numbers)


def _safetensors(spec: Spec) -> dict[str, str]:
    return _timm(as_timm(spec))


def _open_clip(spec: Spec) -> dict[str, str]:
    if "checkpoint" not in spec.options:
        return {}
    found = lookup.entry("unic.encoders.schemes", "open_clip", "published_normalisation")(spec)
    return as_options(*spec.mean_std(*found))


def _onnx(spec: Spec) -> dict[str, str]:
    options: dict[str, str] = lookup.entry("unic.encoders.schemes", "onnx", "options_before")(spec)
    return options
