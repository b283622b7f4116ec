"""Mean and std that the weights of a timm model were trained with, and their licence.

The architecture does not tell them: some published weights of a ViT need a mean and std of 0.5, others of the same ViT
need ImageNet's. For a weight file they come from its URI, from timm's `config.json` beside it, or from its name. If
none of these tells, the user is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path

import timm

from unic._regular_files import read_json
from unic.encoders import Spec
from unic.encoders.base import IMAGENET_MEAN, IMAGENET_STD, NO_LICENCE
from unic.errors import InputError


@dataclass(frozen=True)
class WeightOrigin:
    """Mean and std for images in [0, 1], and the licence: a name, `NO_LICENCE`, or None if it is unknown."""

    mean: Sequence[float]
    std: Sequence[float]
    licence: str | None = None


SCRATCH = WeightOrigin(IMAGENET_MEAN, IMAGENET_STD, NO_LICENCE)
_IMAGENET = WeightOrigin(IMAGENET_MEAN, IMAGENET_STD)

# Files that timm does not list, by the ends of their paths. Mean and std are from the authors' training code. The
# licence of the weights is unknown: both repositories are under Apache-2.0, but neither says that its weights are.
_FILES = {
    # github.com/bytedance/ibot, main_ibot.py; all files have the same name, so the folder tells them apart.
    **dict.fromkeys((f"vit{size}_16*/checkpoint_teacher.pth" for size in "sbl"), _IMAGENET),
    # github.com/liuxingbin/dbot, built on MAE's code; without its branch for CLIP teachers.
    "[0-9][0-9].[0-9]_dbot_*_pre.pth": _IMAGENET,
    "[0-9][0-9].[0-9]_dbot_*_finetune.pth": _IMAGENET,
}
_EXPORTS = ("model.safetensors", "pytorch_model.bin")  # the weight files that a `config.json` belongs to
_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".tar", ".ckpt")


def origin_of(spec: Spec) -> WeightOrigin:
    """The origin of the weights of a `timm:` URI, with its options `mean` and `std` applied. Reads no weights.

    Random weights get ImageNet's mean and std.

    Raises:
        InputError: mean and std of a weight file are unknown, and the URI does not set them.
    """
    found = _without_options(spec)
    if found is None:
        missing = [key for key in ("mean", "std") if key not in spec.options]
        if missing:
            hint = "&".join(f"{key}=imagenet" for key in missing)
            raise InputError(
                f"encoder '{spec.uri}': the mean and std that its weights were trained with are not known; "
                f"add {hint}, or the numbers of their training"
            )
        found = _IMAGENET  # the options replace both
    mean, std = spec.mean_std(found.mean, found.std)
    return replace(found, mean=mean, std=std)


def _without_options(spec: Spec) -> WeightOrigin | None:
    tag = spec.name.partition(".")[2]
    if "checkpoint" not in spec.options:
        return published(spec.name) if spec.flag("pretrained", True) else SCRATCH
    path = Path(spec.options["checkpoint"]).expanduser()
    beside = _beside(path, spec.name.partition(".")[0])
    if beside is None and tag:
        # Fine-tuned weights keep mean and std; their licence may be another one.
        return replace(published(spec.name), licence=None)
    return beside or _of_name(path)


def published(name: str) -> WeightOrigin:
    """The origin of timm's weights of that name; for a name without a tag, of the architecture's default weights."""
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # no such tag; building the model raises the error for it
        config = None
    return _IMAGENET if config is None else WeightOrigin(config.mean, config.std, config.license)


def _of_name(path: Path) -> WeightOrigin | None:
    """The origin of a file whose name is that of a published one."""
    ends = "/".join(path.parts[-2:])
    found = next((origin for pattern, origin in _FILES.items() if fnmatch(ends, f"*{pattern}")), None)
    return found or _files_of_timm().get(path.name)


@lru_cache(maxsize=1)
def _files_of_timm() -> dict[str, WeightOrigin]:
    """Origins by file name, for the authors' files that timm's weights were made from: DINO, DINOv2, MAE and others."""
    found: dict[str, set[WeightOrigin]] = {}
    for model in timm.list_pretrained():
        config = timm.get_pretrained_cfg(model)
        if config is not None and config.url:
            origin = WeightOrigin(tuple(config.mean), tuple(config.std), config.license)
            found.setdefault(str(config.url).rpartition("/")[2], set()).add(origin)
    return {name: origins.pop() for name, origins in found.items() if len(origins) == 1}


def _beside(path: Path, architecture: str) -> WeightOrigin | None:
    """The origin in the `config.json` beside a file, if that is of this architecture and of no other file there."""
    config = path.parent / "config.json"
    if not config.is_file():
        return None
    try:
        tree = read_json(config)
        settings = tree.get("pretrained_cfg", tree)
        mean, std = (tuple(float(value) for value in settings[key]) for key in ("mean", "std"))
        if tree["architecture"].partition(".")[0] != architecture or not len(mean) == len(std) == 3 or 0 in std:
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not a config.json of timm
        return None
    others = [file for file in path.parent.iterdir() if file.suffix in _WEIGHTS and file.name != path.name]
    if path.name not in _EXPORTS and others:
        return None
    return WeightOrigin(mean, std, settings.get("license"))
