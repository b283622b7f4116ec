"""The authors' released checkpoints of UNIC and DUNE: `official:NAME?checkpoint=PATH[&head=TEACHER&img_size=SIZE]`.

The files are pickles with arguments and optimiser states, of which only tensors are read (`unic.encoders._weights`).
Encoders become timm models. `head=` adds the student's projector for a teacher: UNIC's ladder (`_ladder_head`), or
DUNE's transformer block (`_block_head`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from unic.encoders import Spec, _block_head, _ladder_head
from unic.encoders._unwrap import unwrap
from unic.encoders._weights import load_weights, read_checkpoint
from unic.encoders.base import IMAGENET_MEAN, IMAGENET_STD, Encoder
from unic.encoders.schemes.timm import create
from unic.encoders.timm_encoder import TimmEncoder
from unic.errors import InputError, nearest


@dataclass(frozen=True)
class Release:
    """Facts that the file does not hold: a description, the architecture in timm, and the licence if it is known."""

    text: str
    architecture: str
    licence: str | None = None


_UNIC_LICENCE = "CC-BY-NC-SA-4.0"  # LICENSE_checkpoint of github.com/naver/unic
_RELEASES = {
    "unic": Release("UNIC ViT-B/16, four ImageNet-1K teachers", "vit_base_patch16_224", _UNIC_LICENCE),
    "unic-l": Release("UNIC-L ViT-L/14, DINOv2-G and MetaCLIP-H", "vit_large_patch14_224", _UNIC_LICENCE),
    **{
        f"dune-vit{size[0]}14-{resolution}": Release(f"DUNE ViT-{size[0].upper()}/14, {resolution} px", architecture)
        for size, architecture in (("small", "vit_small_patch14_dinov2"), ("base", "vit_base_patch14_dinov2"))
        for resolution in ("336", "448")
    },
    "dune-vitb14-448-paper": Release("DUNE ViT-B/14, 448 px, of the paper", "vit_base_patch14_dinov2"),
}
CATALOGUE = {f"{name}?checkpoint=PATH": release.text for name, release in _RELEASES.items()}
"""Names and descriptions, for `unic list encoders`."""

_NEEDED = ("cls_token", "pos_embed", "patch_embed.proj.weight")  # names by which the encoder is found in the file
_NAMES = {"register_tokens": "reg_token"}


def load(spec: Spec, *, drop_path: float = 0.0) -> Encoder:
    """The released encoder; CLS and patches are those after the final norm, as in the papers' evaluations.

    The input size, the number of blocks, registers and layer scale are inferred from the weights.

    Raises:
        InputError: unknown name, no `checkpoint`, a file of another form, or no projector for `head`.
    """
    spec.check("checkpoint", "head", "img_size", "size", "mean", "std")
    where = f"encoder '{spec.uri}'"
    if spec.name not in _RELEASES:
        raise InputError(f"{where}: unknown release '{spec.name}'{nearest(spec.name, _RELEASES)}")
    asked, (mean, std) = spec.input_size(), spec.mean_std(IMAGENET_MEAN, IMAGENET_STD)
    if "checkpoint" not in spec.options:
        raise InputError(f"{where}: add the downloaded file, official:{spec.name}?checkpoint=PATH")
    tree = read_checkpoint(Path(spec.options["checkpoint"]).expanduser(), where)
    found = unwrap(tree, where, dict.fromkeys(_NEEDED))
    encoder_state = {_renamed(key): value for key, value in found.items() if key != "mask_token"}
    model, model_args, size = _build(spec, encoder_state, asked, drop_path)
    release = _RELEASES[spec.name]
    student = TimmEncoder(model, release.architecture, model_args, size, mean=mean, std=std, licence=release.licence)
    head = spec.options.get("head")
    if head is None:
        return student
    if drop_path:
        raise InputError(f"{where}: an encoder with 'head' cannot be a student")
    state = unwrap(tree, where)
    if head in _block_head.teachers_of(state):
        return _block_head.BlockHead(student, head, state, where)
    if head in _ladder_head.teachers_of(state):
        statistics = tree.get("teacher_ft_stats") if isinstance(tree, Mapping) else None
        return _ladder_head.LadderHead(student, head, state, (statistics or {}).get(head), where)
    teachers = [*_block_head.teachers_of(state), *_ladder_head.teachers_of(state)]
    kind = nearest(head, teachers) if teachers else "; the file has no projectors"
    raise InputError(f"{where}: no projector for '{head}'{kind}")


def _renamed(key: str) -> str:
    """timm's name for a weight: `blocks.7` for `blocks.0.7`, as released blocks are in one or several chunks."""
    return _NAMES.get(key) or re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", key)


def _layer_scale(architecture: str, has_it: bool) -> float | None:
    """timm's `init_values`; any value but 0 adds a layer scale, whose weights are loaded after that."""
    if has_it:
        return 1e-5
    # timm leaves out arguments that are None, and would then add the layer scale that DINOv2's own models have.
    return 0.0 if architecture.endswith("_dinov2") else None


def _build(
    spec: Spec, state: dict[str, Tensor], asked: tuple[int, int] | None, drop_path: float
) -> tuple[Any, dict[str, Any], tuple[int, int]]:
    """The timm model with the weights, the arguments that build it again, and its input size."""
    where, release = f"encoder '{spec.uri}'", _RELEASES[spec.name]
    absent = [key for key in _NEEDED if key not in state]
    if absent:
        raise InputError(f"{where}: the file is no checkpoint of UNIC or DUNE, as it has no {absent[0]}")
    patch = state["patch_embed.proj.weight"].shape[-1]
    if f"_patch{patch}_" not in release.architecture:
        raise InputError(f"{where}: the file has patches of {patch} pixels, so it is not {spec.name}")
    side = round((state["pos_embed"].shape[1] - 1) ** 0.5) * patch
    model_args: dict[str, Any] = {
        "depth": 1 + max((int(key.split(".")[1]) for key in state if key.startswith("blocks.")), default=-1),
        "init_values": _layer_scale(release.architecture, "blocks.0.ls1.gamma" in state),
    }
    if "reg_token" in state:
        # timm has no position for the class token of a model with registers, so it is added to the token.
        model_args |= {"reg_tokens": state["reg_token"].shape[1], "no_embed_class": True}
        position = state["pos_embed"]
        state = {**state, "cls_token": state["cls_token"] + position[:, :1], "pos_embed": position[:, 1:]}
    size = asked or (side, side)
    model = create(spec.uri, release.architecture, model_args, size=size, drop_path=drop_path)
    load_weights(model, state, where)
    return model, model_args, size
