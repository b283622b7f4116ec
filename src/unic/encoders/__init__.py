"""Encoders from any source: `load_encoder(uri)` reads the scheme of the URI and calls the file of that name.

`load_encoder` is for a URI that a user typed, which counts as trusted. unic itself calls `open_encoder`: a URI that
comes from a file runs code only if that code is trusted.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np
import torch

from unic import lookup, rng
from unic.encoders._heap import keep_freed_memory
from unic.encoders.base import IMAGENET_MEAN, IMAGENET_STD, NORMALISATIONS, Encoder, Precision, Size
from unic.errors import InputError, nearest
from unic.runs.folder import nearest_folder
from unic.trust import trusting, typed

__all__ = [
    "Encoder", "Spec", "input_size", "load_encoder", "open_encoder", "parse_uri", "pick_precision", "uri_of",
    "without_weights",
]  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """A parsed URI `scheme:name?option=value&…`. Values stay strings; readers convert them with the methods below."""

    uri: str
    scheme: str
    name: str
    options: dict[str, str] = field(default_factory=dict)

    def check(self, *valid: str) -> None:
        """Refuses options that are not among `valid`."""
        for key in self.options:
            if key not in valid:
                raise InputError(f"encoder '{self.uri}': unknown option '{key}'{nearest(key, valid)}")

    def completed(self, options: Mapping[str, str]) -> str:
        """The URI, with those `options` added that it does not set itself."""
        added = {key: value for key, value in options.items() if key not in self.options}
        return f"{self.uri}{'&' if self.options else '?'}{urlencode(added, safe='/,')}" if added else self.uri

    def flag(self, key: str, default: bool) -> bool:
        text = self.options.get(key, str(default)).lower()
        if text not in ("true", "false"):
            raise InputError(f"encoder '{self.uri}': option '{key}' must be true or false, not '{text}'")
        return text == "true"

    def size(self, key: str, default: tuple[int, int]) -> tuple[int, int]:
        """An image size: `96`, or `48x64` for height x width."""
        text = self.options.get(key)
        if text is None:
            return default
        parts = text.lower().split("x")
        if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
            raise InputError(f"encoder '{self.uri}': option '{key}' must be SIZE or HEIGHTxWIDTH, not '{text}'")
        return int(parts[0]), int(parts[-1])

    def input_size(self) -> tuple[int, int] | None:
        """The option `img_size`, or `size`; None where the URI sets neither."""
        key = "img_size" if "img_size" in self.options else "size"
        return self.size(key, (0, 0)) if key in self.options else None

    def count(self, key: str) -> int | None:
        """A whole number; None where the option is not given."""
        text = self.options.get(key)
        if text is not None and not text.isdecimal():
            raise InputError(f"encoder '{self.uri}': option '{key}' must be a whole number, not '{text}'")
        return None if text is None else int(text)

    def floats(
        self, key: str, default: tuple[float, ...], named: Mapping[str, tuple[float, ...]] | None = None
    ) -> tuple[float, ...]:
        """Numbers separated by commas, or one of the names in `named`; a single number stands for all channels."""
        text = self.options.get(key)
        if text is None:
            return default
        if named and text in named:
            return named[text]
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            hint = nearest(text, named or ())
            raise InputError(f"encoder '{self.uri}': option '{key}' must be numbers, not '{text}'{hint}") from None
        if len(values) not in (1, len(default)):
            raise InputError(f"encoder '{self.uri}': option '{key}' must be one number or three, not '{text}'")
        return values * len(default) if len(values) == 1 else values

    def mean_std(self, mean: Sequence[float], std: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The options `mean` and `std`, for images in [0, 1]; the arguments are their defaults.

        Each is one number, three, or the name of a usual pair: `mean=imagenet&std=imagenet`.
        """
        means, stds = (
            self.floats(key, tuple(default), {name: pair[which] for name, pair in NORMALISATIONS.items()})
            for which, (key, default) in enumerate((("mean", mean), ("std", std)))
        )
        if 0 in stds:
            raise InputError(f"encoder '{self.uri}': option 'std' must not be 0")
        return means, stds


def parse_uri(uri: str) -> Spec:
    """Splits `scheme:name?options`.

    Raises:
        InputError: the text is not of this form, or the scheme is unknown.
    """
    scheme, colon, rest = uri.partition(":")
    valid = lookup.names("unic.encoders.schemes")
    if not colon or not rest or "/" in scheme:
        raise InputError(f"encoder '{uri}': {_no_uri(uri)}")
    if scheme in ("local-dir", "hf-hub"):
        from unic.encoders.schemes.timm import in_our_words

        raise InputError(f"encoder '{uri}': {in_our_words(uri)}")
    if scheme not in valid:
        raise InputError(f"encoder '{uri}': unknown scheme '{scheme}'{nearest(scheme, valid)}")
    name, _, query = rest.partition("?")
    # `+` is a letter of timm names and paths, not a space.
    options = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
    return Spec(uri, scheme, name, options)


def _no_uri(text: str) -> str:
    """The error for a text without a scheme, which most often is a mistyped run folder."""
    expected = "expected SCHEME:NAME, for example timm:vit_base_patch16_224"
    place = Path(text.partition("?")[0])
    if place.is_dir():
        return f"{expected}; for the run in this folder use run:{text}"
    if "/" in text:
        return f"no such folder{nearest_folder(place)}; {expected}, or a run folder"
    return f"{expected}, or a run folder; there is no folder of this name"


def load_encoder(
    model: str | Path | Encoder, *, device: str | torch.device | None = None, precision: str | None = None
) -> Encoder:
    """Loads an encoder, frozen and in evaluation mode.

    Random weights (`pretrained=false`) are a function of the URI, so they are the same in every process.

    Args:
        model: a URI such as `timm:NAME`, `hf:ORG/NAME` or `run:DIR`, with options after `?` (docs/encoders.md). The
            code that the URI names is trusted, as it was typed. Or the folder of a run or of an export. Or an
            `Encoder`, which is returned itself.
        device: device to move the encoder to; default: the CPU for a URI, its present device for an `Encoder`.
        precision: "auto", "bf16" or "fp32"; default: "auto" for a URI, its present precision for an `Encoder`.

    Raises:
        InputError: unknown scheme, name or option; missing file or package.
    """
    if isinstance(model, Encoder):
        return place(model, torch.device(device or model.mean.device), precision or model.precision).freeze()
    uri = uri_of(model)
    with trusting(typed([uri])):
        return open_encoder(uri, device=device or "cpu", precision=precision or "auto")


def uri_of(model: str | Path) -> str:
    """The URI that a text or a path stands for; `run:DIR` for a folder, even if its name contains a colon."""
    text = str(model)
    is_folder = isinstance(model, Path) or bool(text and os.path.isdir(text.partition("?")[0]))
    return f"run:{text}" if is_folder else text


def open_encoder(uri: str, *, device: str | torch.device = "cpu", precision: str = "auto") -> Encoder:
    """Loads an encoder as `load_encoder` does, by a URI that may come from a file.

    Raises:
        InputError: as `load_encoder`.
        UntrustedError: it names code that is not trusted (`unic.trust`).
    """
    # Forked, so that loading an encoder does not change what torch's generator draws next.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.seed_of(rng.stream(uri)))
        encoder = build_encoder(uri)
    return place(encoder, torch.device(device), precision).freeze()


def place(encoder: Encoder, device: torch.device, precision: str = "auto") -> Encoder:
    """Moves an encoder to a device and sets its precision there, see `pick_precision`."""
    if device.type == "cpu":
        keep_freed_memory()  # here, because every process that runs an encoder passes here
    encoder.precision = pick_precision(precision, encoder, device)
    return encoder.to(device)


def build_encoder(uri: str, **student_options: Any) -> Encoder:
    """The encoder of a URI, trainable, on the CPU, fp32. `student_options` go to `load` (timm: `drop_path`).

    Random weights come from torch's generator in its present state, so a student's weights depend on the run's seed.

    Raises:
        InputError: as `load_encoder`; student options for a scheme whose encoders are frozen.
        UntrustedError: as `open_encoder`.
    """
    spec = parse_uri(uri)
    load = lookup.entry("unic.encoders.schemes", spec.scheme, "load")
    if not student_options.keys() <= inspect.signature(load).parameters.keys():
        raise InputError(f"encoder '{uri}': '{spec.scheme}' encoders are frozen, so they cannot be a student")
    encoder = load(spec, **student_options)
    assert isinstance(encoder, Encoder)
    encoder.uri = uri
    return encoder


def as_options(mean: Sequence[float], std: Sequence[float]) -> dict[str, str]:
    """The options `mean` and `std` of a URI: the shortest numbers that are the same in float32."""
    return {key: ",".join(str(np.float32(value)) for value in values) for key, values in (("mean", mean), ("std", std))}


def input_size(uri: str) -> Size:
    """Height and width of the network's input, once the URI is built. Weights of `timm:` models are not read.

    Raises:
        InputError: as `load_encoder`.
    """
    spec = parse_uri(uri)
    if (asked := spec.input_size()) is not None:
        return asked
    known = getattr(lookup.module("unic.encoders.schemes", spec.scheme), "own_size", None)
    return known(spec) if known else build_encoder(without_weights(uri)).input_size


def without_weights(uri: str) -> str:
    """A URI of the same architecture, mean and std with random weights, which needs no download.

    URIs other than `timm:` and `safetensors:` stay as they are.

    Raises:
        InputError: a weight file of unknown mean and std.
    """
    from unic.encoders._origin import origin_of  # here: both modules import `Spec` from this one
    from unic.encoders.schemes.safetensors import as_timm

    spec = parse_uri(uri)
    spec = as_timm(spec) if spec.scheme == "safetensors" else spec
    if spec.scheme != "timm":
        return uri
    origin = origin_of(spec)
    options = {key: value for key, value in spec.options.items() if key not in ("checkpoint", "pretrained")}
    # Random weights get ImageNet's mean and std unless the URI says otherwise.
    if spec.mean_std(IMAGENET_MEAN, IMAGENET_STD) != (origin.mean, origin.std):
        options |= as_options(origin.mean, origin.std)
    return f"timm:{spec.name}?{urlencode(options | {'pretrained': 'false'}, safe='/,')}"


def pick_precision(setting: str, encoder: Encoder, device: torch.device) -> Precision:
    """The precision that a setting stands for on a device.

    `auto` is bf16 where the hardware multiplies it faster, except for CNNs on a CPU: depthwise convolutions are slower
    in bf16.

    Raises:
        InputError: `setting` is none of auto, bf16 and fp32.
    """
    if setting not in ("auto", "bf16", "fp32"):
        raise InputError(f"precision '{setting}'{nearest(setting, ('auto', 'bf16', 'fp32'))}")
    if setting != "auto":
        return "bf16" if setting == "bf16" else "fp32"
    if device.type == "cpu" and encoder.architecture == "cnn":
        return "fp32"
    return "bf16" if has_fast_bf16(device) else "fp32"


def has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        try:
            flags = Path("/proc/cpuinfo").read_text()
        except OSError:  # macOS, Windows
            return False
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False
