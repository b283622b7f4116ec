"""Suites: sets, tasks and settings that are the same for all models. A suite has a name here, or is a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from omegaconf import OmegaConf
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from unic.errors import InputError, nearest, reason_of
from unic.eval.subject import Vector, View
from unic.recipe.base import Positive, Section
from unic.recipe.keys import first_error, meant
from unic.recipe.references import WithReferences, resolve

HEAD = "head:"
"""Start of the value of `tokens` that names a teacher, whose kept heads are read."""
_VECTORS = get_args(Vector)


def _is_readable(tokens: Any) -> Any:
    if tokens in _VECTORS or (isinstance(tokens, str) and tokens.removeprefix(HEAD) not in ("", tokens)):
        return tokens
    text = f"Input should be {', '.join(map(repr, _VECTORS))} or '{HEAD}TEACHER'"
    raise PydanticCustomError("literal_error", text)


class Entry(BaseModel):
    """A task of a suite. Its keys are the options of the task, and these:

    Attributes:
        task: name of the task, if the entry has another name (the same task twice, with different options).
        data: sets on which the task runs; default: all sets of the suite that are of its kind.
        tokens: vector of an image, for every model (cls, patch_mean, cls+patch_mean); default: see
            `Suite.teacher_vector`. `head:T`: tokens of each model's kept head for teacher T, and T's own.
        view: view of the images, for every model; default: the suite's `view`. Dense tasks see the whole image.
        blocks: for dense tasks, the blocks whose patch tokens are read: a number of last blocks, or a list of indices.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    task: str | None = None
    data: list[str] | None = None
    tokens: Annotated[str, BeforeValidator(_is_readable)] | None = None
    view: View | None = None
    blocks: int | list[int] | None = None

    @property
    def vector(self) -> Vector | None:
        """The vector of an image that `tokens` names; a head is read by its CLS."""
        return "cls" if self.head else cast("Vector | None", self.tokens)

    @property
    def head(self) -> str | None:
        """The teacher whose kept heads are read; None: the models themselves are."""
        named = self.tokens or ""
        return named.removeprefix(HEAD) if named.startswith(HEAD) else None

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def describe(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.options.items())


class Suite(Section, WithReferences):
    """A suite: sets, tasks and settings. A YAML file with these keys is a suite too.

    Attributes:
        data: names of evaluation sets, with options (`cog?level=3`), or `NAME=PATH`.
        tasks: entries by name; a list of names takes the defaults.
        unseen: further sets, named like those of `data`, whose images must not be used in training, with labels or
            without. They have a mean gain of their own and count in no other mean and in no rank.
        unseen_tasks: tasks on the unseen sets; null: `tasks`.
        seeds: seeds; every task runs once for each.
        size: side of the square view that every encoder gets and resizes itself; null: the encoder's own input size.
        view: how the square view is cut out of an image. `square`: its centre square, resized. `centre_crop`: the short
            side is resized to the side of the view, then the centre is cropped, as published evaluations do with
            torchvision. `centre_crop_256`: the same with a short side of 256 for a view of 224, and in this ratio for
            other sizes, as published k-NN evaluations do. Dense tasks see the whole image.
        max_train, max_test: largest number of images of each part; larger parts are replaced by a fixed random subset.
        teacher_vector: vector by which a ViT teacher with a CLS token is measured; other models use `cls`. With the
            mean of its patches a teacher mostly scores higher, so the comparison is stricter for the student.
        axes: groups of rows by name, as patterns of `SET/TASK`; each gets a gain over its best teacher.
    """

    data: list[str] = Field(min_length=1)
    tasks: dict[str, Entry] = Field(default_factory=lambda: _entries(knn={"k": 20}, logistic={}), min_length=1)
    unseen: list[str] = Field(default_factory=list)
    unseen_tasks: dict[str, Entry] | None = Field(None, min_length=1)
    seeds: list[int] = Field([0, 1, 2], min_length=1)
    size: Positive | None = None
    view: View = "square"
    max_train: Positive | None = None
    max_test: Positive | None = None
    teacher_vector: Literal["cls", "cls+patch_mean"] = "cls"
    axes: dict[str, list[str]] = Field(default_factory=dict)

    @field_validator("tasks", "unseen_tasks", mode="before")
    @classmethod
    def _names_alone(cls, tasks: Any) -> Any:
        """`[knn, logistic]` is short for `{knn: {}, logistic: {}}`."""
        are_names = isinstance(tasks, list) and all(isinstance(name, str) for name in tasks)
        return {name: {} for name in tasks} if are_names else tasks

    @field_validator("unseen")
    @classmethod
    def _either_seen_or_not(cls, unseen: list[str], known: ValidationInfo) -> list[str]:
        for spec in unseen:
            if spec in known.data.get("data", ()):
                raise ValueError(f"set '{spec}' is in 'data' too; a set is either seen or unseen")
        return unseen

    @field_validator("unseen_tasks")
    @classmethod
    def _have_sets(cls, tasks: dict[str, Entry] | None, known: ValidationInfo) -> dict[str, Entry] | None:
        if tasks and not known.data.get("unseen"):
            raise ValueError("expected unseen sets for these tasks; list them in 'unseen'")
        return tasks

    def describe(self) -> str:
        parts = [f"{', '.join(self.data)}: {_listed(self.tasks)}"]
        if self.unseen:
            parts.append(f"unseen {', '.join(self.unseen)}: {_listed(self.unseen_tasks or self.tasks)}")
        return "; ".join([*parts, f"seeds {', '.join(map(str, self.seeds))}"])


def _listed(tasks: Mapping[str, Entry]) -> str:
    return "; ".join(f"{name} {entry.describe()}".strip() for name, entry in tasks.items())


def _entries(**tasks: dict[str, Any]) -> dict[str, Entry]:
    return {name: Entry(**options) for name, options in tasks.items()}


_SAMPLES = ["clipart", "emoji", "glyphs", "fashion"]
_SHIFTS = ["imagenet_v2", "imagenet_r", "imagenet_sketch", "imagenet_a"]
_FINE_GRAINED = ["aircraft", "cars", "dtd", "eurosat", "flowers", "pets", "food101", "sun397"]
_COG = [f"cog?level={level}" for level in range(1, 6)]
_LONG_TAIL = ["inat2018", "inat2019"]
# The axes of the paper (arXiv 2408.05088), then the mean over its 15 transfer sets. ImageNet-A is measured and is in no
# axis, as the paper does not say that it counts.
_AXES_OF_UNIC = {
    "ImageNet-1K": ["imagenet/linear"],
    "ImageNet-v2": ["imagenet_v2/robustness"],
    "domain shift": ["imagenet_r/robustness", "imagenet_sketch/robustness"],
    "concepts": ["cog-L*/linear"],
    "long tail": ["inat*/longtail"],
    "fine-grained": [f"{name}/logistic" for name in _FINE_GRAINED],
    "segmentation": ["ade20k/segmentation"],
    "depth": ["nyud_frames/depth"],
    "transfer": ["cog-L*/linear", "inat*/longtail", *(f"{name}/logistic" for name in _FINE_GRAINED)],
}
_LIVE: dict[str, Any] = {"protocol": "dinov2"}
_PUBLISHED: dict[str, Any] = {"probe": "linear", "probe_options": {"protocol": "unic"}}
# Shown, but never part of a score. Influence runs on two sets only: each kept head takes a forward pass.
_DESCRIPTIONS: dict[str, dict[str, Any]] = {"influence": {"data": ["clipart", "glyphs"]}, "spectrum": {}}
# Classes have few images: more than five neighbours would be of other classes, and a search of C would find noise.
_UNSEEN: dict[str, Any] = {"unseen": ["stamps"], "unseen_tasks": _entries(knn={"k": 5}, logistic={"C": 0.01})}
SUITES = {
    "quick": Suite(
        data=_SAMPLES, tasks=_entries(knn={"k": 20}, logistic={"C": 0.01}, **_DESCRIPTIONS), seeds=[0], size=128,
        max_train=1500, max_test=1000, teacher_vector="cls+patch_mean", **_UNSEEN,
    ),
    "samples": Suite(
        data=_SAMPLES, tasks=_entries(knn={"k": 20}, logistic={}, **_DESCRIPTIONS), size=128,
        teacher_vector="cls+patch_mean", **_UNSEEN,
    ),
    "samples-all": Suite(
        data=[*_SAMPLES, "scenes", "digits"],
        tasks=_entries(
            knn={"k": 20}, logistic={}, retrieval={}, segmentation={},
            robustness={
                "data": ["clipart"], "probe_options": {"C": 0.01}, "severities": [3],
                "corruptions": ["gaussian_noise", "defocus_blur", "contrast", "jpeg_compression"],
            },
            **_DESCRIPTIONS,
        ),
        size=128, teacher_vector="cls+patch_mean", **_UNSEEN,
        axes={
            "nearest neighbours": ["*/knn", "*/retrieval"], "linear": ["*/logistic"],
            "corruptions": ["*/robustness"], "segmentation": ["*/segmentation"],
        },
    ),
    "finegrained": Suite(data=_FINE_GRAINED, tasks=_entries(knn={"k": 20}, logistic={})),
    "unic": Suite(
        data=["imagenet", *_SHIFTS, *_COG, *_LONG_TAIL, *_FINE_GRAINED, "ade20k", "nyud_frames"],
        tasks=_entries(
            linear={"data": ["imagenet", *_COG], "protocol": "unic"}, knn={"data": ["imagenet"], "k": 20},
            robustness={"data": _SHIFTS, **_PUBLISHED}, longtail={"data": _LONG_TAIL, **_PUBLISHED},
            logistic={"data": _FINE_GRAINED, "protocol": "unic"}, segmentation=_LIVE, depth=_LIVE,
        ),
        view="centre_crop", axes=_AXES_OF_UNIC,
    ),
    "unic-l": Suite(
        data=["imagenet", "ade20k"],
        tasks=_entries(
            knn={"data": ["imagenet"], "k": 20},
            zero_shot={"data": ["imagenet"], "templates": "openai", "names": "openai"}, segmentation=_LIVE,
        ),
        view="centre_crop",
        axes={"k-NN": ["imagenet/knn"], "zero-shot": ["imagenet/zero_shot"], "segmentation": ["ade20k/*"]},
    ),
}  # fmt: skip


def load_suite(name: str | Path | Mapping[str, Any] | None = None) -> Suite:
    """A suite by name (default `quick`), from a YAML file, or from a mapping in a recipe.

    Args:
        name: a key of `SUITES`, the path of a YAML file, or the suite itself as a mapping.

    Raises:
        InputError: no such suite, or the file or mapping is not a suite.
    """
    if isinstance(name, Mapping):
        return _checked(name, "recipe: 'eval.suite'")
    name = str(name or "quick")
    if name in SUITES:
        return SUITES[name]
    if not Path(name).is_file():
        if "/" in name or name.endswith((".yaml", ".yml")):
            raise InputError(f"suite '{name}': no such file")
        raise InputError(f"unknown suite '{name}'{nearest(name, SUITES)}; or give the path of a YAML file")
    try:
        tree = OmegaConf.to_container(OmegaConf.load(name), resolve=False)
        if not isinstance(tree, dict):
            raise InputError(f"suite {name}: expected a mapping with data and tasks")
        plain, written = resolve({str(key): value for key, value in tree.items()}, f"suite {name}")
        return _checked(plain, f"suite {name}").written_as(written)
    except InputError:
        raise
    except Exception as error:  # YAML and OmegaConf raise many kinds
        raise InputError(f"suite {name}: not valid YAML ({reason_of(error)})") from None


def _checked(tree: Mapping[str, Any], where: str) -> Suite:
    """The suite of a tree whose references are resolved."""
    try:
        return Suite.model_validate(dict(tree))
    except ValidationError as error:
        first = first_error(error.errors())
        key, text = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        ending = meant(Suite, first["loc"]) if first["type"] == "extra_forbidden" else ""
        raise InputError(f"{where}: '{key}': {text}{ending}") from None
