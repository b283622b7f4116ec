"""Weights of a timm architecture in one file: `safetensors:PATH?arch=NAME`, with the options of `timm:`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unic.encoders import Spec
from unic.encoders.schemes import timm
from unic.errors import InputError


def load(spec: Spec, *, drop_path: float = 0.0) -> timm.TimmEncoder:
    """The same as `timm:NAME?checkpoint=PATH`; as a student it is a pretrained start.

    Raises:
        InputError: no such file, another format, no architecture, weights of another architecture, or unknown mean and
            std.
    """
    spec.check("arch", "img_size", "size", "global_pool", "mean", "std")
    if not Path(spec.name).expanduser().is_file():
        raise InputError(f"encoder '{spec.uri}': no such file: {spec.name}")
    if not spec.name.endswith(".safetensors"):
        raise InputError(f"encoder '{spec.uri}': not a .safetensors file; use timm:NAME?checkpoint={spec.name}")
    if "arch" not in spec.options:
        raise InputError(
            f"encoder '{spec.uri}': add the timm architecture of the weights, for example ?arch=vit_base_patch16_224"
        )
    return timm.load(as_timm(spec), drop_path=drop_path)


def as_timm(spec: Spec) -> Spec:
    """The `timm:` form of a `safetensors:` URI. Its `uri` stays as the user wrote it, for error lines."""
    options = {key: value for key, value in spec.options.items() if key != "arch"} | {"checkpoint": spec.name}
    return replace(spec, scheme="timm", name=spec.options.get("arch", ""), options=options)
