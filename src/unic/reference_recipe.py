"""The recipe that the arguments of a training with UNIC's own code say: `unic init --from`.

These arguments lie in a released checkpoint (`args`), and beside it as JSON (`unic_args.json`, `unic_l_args.json`).
Their names and defaults are those of the authors' command line (github.com/naver/unic). What no key of a recipe can
say is listed in a comment.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from unic import lookup
from unic._regular_files import read_json
from unic.encoders import parse_uri
from unic.encoders._weights import read_arguments
from unic.errors import InputError, nearest, reason_of
from unic.projectors.ladder import Projector
from unic.recipe.schema import Recipe, load_recipe
from unic.standardizers import build_standardizer
from unic.weightings import build_weighting

# URIs of the teachers by their names in the authors' code, and the input size of each URI.
_TEACHERS = {
    "dino_vitbase_16": ("timm:vit_base_patch16_224.dino", 224),
    "deit3_vitbase_16": ("timm:deit3_base_patch16_224.fb_in1k", 224),
    "ibot_vitbase_16": (
        "timm:vit_base_patch16_224?checkpoint=weights/vitb_16_rand_mask/checkpoint_teacher.pth",
        224,
    ),
    "dbotft_vitbase_16": (
        "timm:vit_base_patch16_224?checkpoint=weights/84.5_dbot_base_finetune.pth&global_pool=avg",
        224,
    ),
    "metaclip_vithuge_14": ("open_clip:ViT-H-14-quickgelu/metaclip_fullcc", 224),
    "dino2_vitgiant_14": ("timm:vit_giant_patch14_reg4_dinov2.lvd142m", 518),
}
_STUDENTS = {
    ("vit_tiny", 16): "vit_tiny_patch16_224",
    ("vit_small", 16): "vit_small_patch16_224",
    ("vit_base", 16): "vit_base_patch16_224",
    ("vit_large", 16): "vit_large_patch16_224",
    ("vit_large", 14): "vit_large_patch14_224",
}
# Arguments of one launch on one machine, which decide nothing that is learned. Schedules follow from the others.
_OF_THE_LAUNCH = {
    "output_dir", "dist_url", "local_rank", "rank", "gpu", "num_cpus", "lr_schedule", "tnorm_ema_schedule",
}  # fmt: skip
_KEYS = {
    "seed": "seed",
    "drop_path_rate": "student.drop_path",
    "tnorm_ema_momentum_start": "standardize.momentum.0",
    "tnorm_ema_momentum_end": "standardize.momentum.1",
    "t_drop_prob": "weighting.p",
    "lam_lcos": "loss.cosine",
    "lam_lsl1": "loss.smooth_l1",
    "num_workers": "data.workers",
    "epochs": "train.epochs",
    "lr": "train.lr",
    "min_lr": "train.min_lr",
    "warmup_epochs": "train.warmup_epochs",
    "wd": "train.weight_decay",
}
"""Arguments that mean the same as a key of a recipe."""

_WORDS = {int: "a whole number", str: "text", list: "a list"}
_MOST = 100  # characters of a value in a comment


def reference_recipe(source: str) -> str:
    """The recipe as YAML with comments.

    Args:
        source: `official:NAME?checkpoint=PATH`, or a JSON file of arguments.

    Raises:
        InputError: no such file, no arguments in it, a student or a teacher that has no URI, or arguments that do not
            make a valid recipe.
    """
    where = f"--from {source}"
    said = _Said(_arguments(source, where), where)
    recipe = _recipe(said)
    lines = [f"# The recipe that the arguments in {said.place} say."]
    for title, entries in (
        ("Before the training, and what the arguments leave open:", said.open),
        ("Arguments that no key of a recipe says:", said.without_key()),
    ):
        if entries:
            lines += ["#", f"# {title}", *(f"#   - {entry}" for entry in entries)]
    try:
        _check_parts(load_recipe(recipe))
    except InputError as error:
        raise InputError(f"{where}: the arguments make no valid recipe ({reason_of(error)})") from None
    return "\n".join([*lines, OmegaConf.to_yaml(OmegaConf.create(recipe))])


def _check_parts(recipe: Recipe) -> None:
    """Refuses options of the standardiser, of the weighting and of the projector that these would refuse."""
    build_standardizer(recipe.standardize.type, {}, recipe.standardize.options)
    build_weighting(recipe.weighting.type, len(recipe.teachers.models), recipe.seed, recipe.weighting.options)
    lookup.check_values(Projector.__init__, recipe.projector.options, "projector 'ladder'")


def _arguments(source: str, where: str) -> dict[str, Any]:
    if source.startswith("official:"):
        spec = parse_uri(source)
        if "checkpoint" not in spec.options:
            raise InputError(f"{where}: add the downloaded file, official:{spec.name}?checkpoint=PATH")
        return read_arguments(Path(spec.options["checkpoint"]).expanduser(), where)
    path = Path(source).expanduser()
    if not path.is_file():
        raise InputError(f"{where}: no such file; expected official:NAME?checkpoint=PATH, or a JSON file of arguments")
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: not a JSON file of arguments ({reason_of(error)})") from None
    if not isinstance(found, Mapping):
        raise InputError(f"{where}: not a JSON file of arguments")
    return {str(key): value for key, value in found.items()}


class _Said:
    """Arguments that are taken one by one. What is left at the end has no counterpart.

    Attributes:
        open: lines about what the user has to do or to choose.
    """

    def __init__(self, arguments: Mapping[str, Any], where: str) -> None:
        self._left, self.where = dict(arguments), where
        self.place = where.removeprefix("--from ")
        self._different: dict[str, str] = {}
        self.open: list[str] = []

    def take(self, name: str) -> Any:
        """The value of an argument, None if it is not among them or is no plain data."""
        value = self._left.pop(name, None)
        if value is not None and not _is_plain(value):
            self.differs(name, value, "its value cannot be read safely")
            return None
        return value

    def needed(self, name: str, *kinds: type) -> Any:
        """The value of an argument of one of these types."""
        value = self.take(name)
        if value is None:
            raise InputError(f"{self.where}: it has no argument '{name}'; expected those of a training of UNIC")
        if not isinstance(value, kinds):
            expected = " or ".join(_WORDS[kind] for kind in kinds)
            raise InputError(f"{self.where}: argument '{name}': expected {expected} (got {_shown(value)})")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        """An argument that holds options, which the authors' command line takes as the text of a dictionary."""
        value = self.take(name)
        try:
            found = ast.literal_eval(value) if isinstance(value, str) else value or {}
        except (ValueError, SyntaxError):
            found = None
        if not isinstance(found, Mapping):
            self.differs(name, value, "it is no dictionary")
            return {}
        return dict(found)

    def differs(self, name: str, value: Any, why: str) -> None:
        """Notes an argument that a recipe cannot say, or says in another way."""
        self._different[name] = f"{name}: {_shown(value)} ({why})"

    def without_key(self) -> list[str]:
        launch = [name for name in sorted(self._left) if name in _OF_THE_LAUNCH]
        rest = [f"{name}: {_shown(value)}" for name, value in sorted(self._left.items()) if name not in _OF_THE_LAUNCH]
        return [*self._different.values(), *rest, *([f"of the launch: {', '.join(launch)}"] if launch else [])]


def _recipe(said: _Said) -> dict[str, Any]:
    size = said.needed("image_size", int)
    tree: dict[str, Any] = {
        "teachers": {"models": _teachers(said, size)},
        "student": {"model": _student(said, size)},
        "projector": _projector(said),
        "loss": {},
        "standardize": {"type": "ema", "momentum": [1.0, 0.001]},
        "weighting": {"type": "teacher_dropping", "level": "image", "normalise": "pair"},
        "data": {"train": [{"path": _images(said)}], "size": size, "augment": "unic"},
        "train": {},
    }
    for name, key in _KEYS.items():
        value = said.take(name)
        if value is None:
            said.open.append(f"{key} is not among the arguments ({name}); its default stands")
        else:
            _set(tree, key.split("."), value)
    if not tree["loss"]:
        del tree["loss"]
    tree["train"] |= _optimisation(said)
    return tree


def _teachers(said: _Said, size: int) -> dict[str, str]:
    names = said.needed("teachers", str, list)
    models: dict[str, str] = {}
    for name in names.split(",") if isinstance(names, str) else map(str, names):
        if name not in _TEACHERS:
            raise InputError(f"{said.where}: teacher '{name}' has no URI{nearest(name, _TEACHERS)}")
        if name in models:
            raise InputError(f"{said.where}: teacher '{name}' is listed twice; list it once")
        uri, own_size = _TEACHERS[name]
        # In the authors' code all teachers see the student's images as they are.
        models[name] = uri if size == own_size else f"{uri}{'&' if '?' in uri else '?'}img_size={size}"
        if "checkpoint=" in uri:
            said.open.append(f"{name}: download its file (docs/recipes.md) to the path in its URI")
        if name == "dino2_vitgiant_14":
            said.open.append(f"{name}: the name does not say whether it has registers; the URI's model has four")
    return models


def _student(said: _Said, size: int) -> str:
    arch, patch = said.needed("arch", str), said.needed("patch_size", int)
    if (arch, patch) not in _STUDENTS:
        known = ", ".join(f"{name} with patches of {side}" for name, side in _STUDENTS)
        raise InputError(f"{said.where}: student '{arch}' with patches of {patch} has no URI; expected {known}")
    return f"timm:{_STUDENTS[arch, patch]}?img_size={size}&pretrained=false"


def _projector(said: _Said) -> dict[str, Any]:
    options = said.mapping("lp_args")
    tree = {
        "type": "ladder",
        "hidden_dim": options.pop("hidden_dim", 768),
        "last_hidden_dim": options.pop("last_hidden_dim", 3072),
        "blocks": options.pop("which_blocks", None) or "all",
    }
    if options.pop("prenorm", False):
        tree["norm"] = "pre"
    if options.get("std") == 0.02:  # that of every ladder
        del options["std"]
    if not options.get("midnorm", True):
        del options["midnorm"]
    for name, value in options.items():
        said.differs(f"lp_args.{name}", value, "a ladder has no such option")
    return tree


def _images(said: _Said) -> str:
    folder = said.take("data_dir")
    if folder is None:
        said.open.append("data.train: point it at the training folder of ImageNet-1K")
        return "data/imagenet/train"
    return str(Path(str(folder)) / "train")


def _optimisation(said: _Said) -> dict[str, Any]:
    """Keys of `train` that more than one argument decides, or that mean something else in the authors' code."""
    tree: dict[str, Any] = {}
    batch, processes = said.needed("batch_size_per_gpu", int), said.take("world_size")
    tree["batch_size"] = batch * (processes if isinstance(processes, int) else 1)
    if not isinstance(processes, int):
        said.open.append(f"train.batch_size: {batch} is that of one GPU; multiply it by their number")
    options = said.mapping("optim_args")
    if "betas" in options:
        betas = options.pop("betas")
        tree["betas"] = list(betas) if isinstance(betas, tuple) else betas
    if options.get("eps") == 1e-8:  # ours
        del options["eps"]
    for name, value in options.items():
        said.differs(f"optim_args.{name}", value, "the optimiser has no such option")
    half = said.take("use_fp16")
    tree["precision"] = "auto" if half else "fp32"
    if half:
        said.differs("use_fp16", half, "no fp16 here: bf16 where the hardware multiplies it faster, else float32")
    if clip := said.take("clip_grad"):
        said.differs("clip_grad", clip, "it clips each tensor by itself; train.clip_grad clips the whole gradient")
    if (every := said.take("saveckpt_freq")) is not None:
        said.differs("saveckpt_freq", every, "in epochs; checkpoint.every counts steps")
    return tree


def _set(tree: Any, path: list[str], value: Any) -> None:
    *outer, last = path
    for part in outer:
        tree = tree[part]
    tree[int(last) if isinstance(tree, list) else last] = value


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split()) if _is_plain(value) else "not plain data"
    return text if len(text) <= _MOST else f"{text[:_MOST]} …"
