"""Image towers of open_clip: `open_clip:ARCH/PRETRAINED` or `open_clip:ARCH?checkpoint=PATH`, with `&projected=true`.

CLS is the pooled vector before the projection into the joint space of images and texts. Patches are those after the
tower's final norm. With `projected=true` CLS is the joint embedding, as `encode_image` returns it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import save

from unic._regular_files import read_json
from unic.encoders import Spec
from unic.encoders._hugging_face import cached_file, commit_of, fetch_card, licence_of, require_hub
from unic.encoders._open_clip_encoder import OpenClipEncoder
from unic.encoders._unwrap import unwrap
from unic.encoders._weights import read_checkpoint
from unic.encoders.base import NORMALISATIONS
from unic.errors import InputError, nearest, reason_of

_EVERY = {"logit_scale": None}  # a weight that every model of images and texts has


def load(spec: Spec) -> OpenClipEncoder:
    """The image tower with the preprocessing of its weights, frozen. Weights in the local cache need no network.

    Options:
        checkpoint: a file of the whole model, instead of the name of published weights.
        projected: `true` for the joint embedding as CLS.
        img_size (or size): another input size; position embeddings are interpolated.
        mean, std: needed with `checkpoint`, unless open_clip's `open_clip_config.json` is beside the file.

    Raises:
        InputError: unknown architecture, weights or option; an unreadable file; no network.
    """
    spec.check("checkpoint", "projected", "img_size", "size", "mean", "std")
    open_clip = _import(spec.uri)
    architecture, _, tag = spec.name.partition("/")
    known = open_clip.list_models()
    if architecture not in known:
        raise InputError(f"encoder '{spec.uri}': open_clip has no model '{architecture}'{nearest(architecture, known)}")
    projected, size = spec.flag("projected", False), spec.input_size()
    settings = _settings(spec, open_clip, architecture, tag)
    path = _weights(spec, open_clip, settings)
    try:
        create = partial(
            open_clip.create_model,
            architecture,
            force_image_size=size,
            force_preprocess_cfg=settings,
            # OpenAI's weights were trained with QuickGELU but use the name of an architecture without it.
            force_quick_gelu=settings.get("quick_gelu", False),
            weights_only=True,
        )
        model = _with_weights(spec, create, path)
        if not settings.keys() | spec.options.keys() >= {"mean", "std"}:
            raise InputError(
                f"encoder '{spec.uri}': the mean and std that its weights were trained with are not known; "
                "add mean=clip&std=clip, or the numbers of their training"
            )
        mean, std = spec.mean_std(*(model.visual.preprocess_cfg[key] for key in ("mean", "std")))
        encoder = OpenClipEncoder(model.visual, mean=mean, std=std, projected=projected)
    except InputError:
        raise
    except Exception as error:  # open_clip raises many kinds for a damaged file, other weights or a wrong size
        raise InputError(f"encoder '{spec.uri}': cannot load it ({reason_of(error, 200)})") from None
    repository = os.path.split(settings.get("hf_hub", ""))[0]
    if repository and "checkpoint" not in spec.options:
        encoder.revision, encoder.licence = commit_of(path), licence_of(repository)
    return encoder


def _import(uri: str) -> Any:
    try:
        import open_clip
    except ImportError:
        raise InputError(f"encoder '{uri}': needs open_clip; run: pip install open_clip_torch") from None
    return open_clip


def _with_weights(spec: Spec, create: Callable[..., Any], path: Path) -> Any:
    """The model with the weights of a file. A file that open_clip cannot read is tried again without wrappers."""
    try:
        return create(pretrained=str(path))
    except Exception as error:
        if "checkpoint" not in spec.options:
            raise
        where = f"encoder '{spec.uri}'"
        try:
            state = unwrap(read_checkpoint(path, where), where, _EVERY)
        except InputError:
            raise error from None
    with TemporaryDirectory(prefix="unic-open-clip-") as folder:
        plain = Path(folder) / "open_clip_model.safetensors"
        plain.write_bytes(save({name: tensor.clone() for name, tensor in state.items()}))
        return create(pretrained=str(plain))


def _settings(spec: Spec, open_clip: Any, architecture: str, tag: str) -> dict[str, Any]:
    """Facts published about the weights: their mean, std, activation and address."""
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if "checkpoint" not in spec.options:
        settings = open_clip.get_pretrained_cfg(architecture, tag)
        if not settings:
            raise InputError(f"encoder '{spec.uri}': '{architecture}' has no weights '{tag}'{nearest(tag, tags)}")
        return dict(settings)
    if tag:
        raise InputError(f"encoder '{spec.uri}': name the weights '{tag}' or a checkpoint, not both")
    return _beside(Path(spec.options["checkpoint"]).expanduser())


def _beside(path: Path) -> dict[str, Any]:
    """Mean and std in the `open_clip_config.json` that open_clip puts beside weights on the hub; empty without it."""
    if path.name not in ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"):
        return {}
    try:
        settings = read_json(path.parent / "open_clip_config.json")["preprocess_cfg"]
        return {key: tuple(float(value) for value in settings[key]) for key in ("mean", "std")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def published_normalisation(spec: Spec) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and std that all published weights of an architecture share; CLIP's if it has no published weights.

    Raises:
        InputError: published weights differ in mean and std, or open_clip is not installed.
    """
    open_clip = _import(spec.uri)
    tags = open_clip.list_pretrained_tags_by_model(spec.name)
    published = [open_clip.get_pretrained_cfg(spec.name, tag) for tag in tags]
    ranges = {(tuple(settings["mean"]), tuple(settings["std"])) for settings in published}
    if len(ranges) > 1:
        raise InputError(f"encoder '{spec.uri}': published weights differ in mean and std")
    return ranges.pop() if ranges else NORMALISATIONS["clip"]


def _weights(spec: Spec, open_clip: Any, settings: Mapping[str, Any]) -> Path:
    """Path of the file of the whole model, which is downloaded if it is not in the cache."""
    where = f"encoder '{spec.uri}'"
    if "checkpoint" in spec.options:
        path = Path(spec.options["checkpoint"]).expanduser()
        if not path.is_file():
            raise InputError(f"{where}: no such file: {path}")
        return path
    cached = _cached(settings)
    if cached is not None:
        return cached
    repository = os.path.split(settings.get("hf_hub", ""))[0]
    require_hub(where, "" if repository else settings["url"])
    try:
        if repository:
            fetch_card(repository, None)
        return Path(open_clip.download_pretrained(settings))
    except Exception as error:
        raise InputError(f"{where}: cannot download its weights ({reason_of(error, 200)})") from None


def _cached(settings: Mapping[str, Any]) -> Path | None:
    """Path of the weights in the cache, safetensors first as in open_clip; None if they are not there."""
    if not settings.get("hf_hub"):
        path = Path("~/.cache/clip").expanduser() / os.path.basename(settings["url"])
        return path if path.is_file() else None
    repository, name = os.path.split(settings["hf_hub"])
    name = name or "open_clip_pytorch_model.bin"
    for candidate in ("open_clip_model.safetensors", str(Path(name).with_suffix(".safetensors")), name):
        path = cached_file(repository, candidate)
        if path is not None:
            return path
    return None
