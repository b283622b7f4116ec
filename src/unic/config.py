"""The recipe: one strict schema, read from YAML with `base:` inheritance and dotted `key=value` overrides."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from unic.errors import InputError, nearest

Positive = Annotated[int, Field(gt=0)]
_REFERENCE = re.compile(r"\$\{(?:oc\.env:[^${}]*|(\w[\w.\[\]-]*))\}")
_MOST_TEXT = 50_000_000  # characters that a recipe may become when its references are written out
STAGE_SECTIONS = ("data", "train", "student", "teachers")


class Section(BaseModel):
    """A part of the recipe. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Component(BaseModel):
    """A part that is chosen by `type`; its other keys are options that the chosen module declares and checks itself."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Projector(Component):
    """Options of the chosen file, and for all of them `blocks`: all, last, or a list."""

    type: str = "ladder"


class Standardize(Component):
    type: str = "ema"


class Weighting(Component):
    type: str = "teacher_dropping"


class Cache(Section):
    """Teacher outputs written once. `views`: how many augmented views of each image (1 with `augment: none`).

    `tokens: cls` keeps no patches, and the patch half of the loss is off. `processes`: how many build it on this
    machine, for each rank; on several GPUs each takes the next one.
    """

    views: Positive = 1
    tokens: str = Field("all", pattern=r"^(all|cls|pooled:[1-9]\d*x[1-9]\d*)$")
    dtype: Literal["fp16", "fp32", "int8"] = "fp16"
    processes: Positive = 1
    dir: str | None = None  # null: the user's cache folder (UNIC_CACHE, else ~/.cache/unic)
    budget: str | None = Field(None, pattern=r"^\d+(\.\d+)?\s*[kMGT]?B$")


class Teachers(Section):
    models: dict[str, str] = Field(min_length=1)
    cache: Cache | None = None
    shard: bool = False  # with train.engine fsdp: each process holds a share of the teachers' blocks

    @field_validator("models")
    @classmethod
    def _plain_names(cls, models: dict[str, str]) -> dict[str, str]:
        for name in models:
            if not name.replace("-", "_").isidentifier():
                raise ValueError(f"teacher name '{name}' must be letters, digits, '_' or '-'")
        return models


class Student(Section):
    model: str
    drop_path: float = Field(0.1, ge=0, lt=1)


class TrainSource(Section):
    """`weight`: how often one epoch goes over the source (0.5: half of it, another half each epoch; 2: twice).

    `teachers`: those that learn from its images (default: all). `window`: of a streamed source, shards mixed at a time.
    """

    path: str
    weight: float = Field(1.0, gt=0)
    limit: Positive | None = None  # a fixed random subset of so many images
    teachers: list[str] | None = Field(None, min_length=1)
    window: Positive = 16


class Data(Section):
    """`sizes`: each step draws the side of its views from these, and the student sees them as they are; so does each
    teacher that can and whose URI names no size. One that is listed twice comes twice as often; the largest is `size`.
    """

    train: list[TrainSource] = Field(min_length=1)
    size: Positive = 224
    sizes: list[Positive] | None = Field(None, min_length=1)
    augment: str = "unic"
    workers: int = Field(2, ge=0)
    max_damaged: float = Field(0.01, ge=0, le=1)

    @field_validator("train", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        """`train: images/` and `train: [a, b]` are short for lists of sources with weight 1."""
        sources = value if isinstance(value, list) else [value]
        return [{"path": source} if isinstance(source, str) else source for source in sources]

    @field_validator("sizes")
    @classmethod
    def _largest(cls, sizes: list[int] | None, known: ValidationInfo) -> list[int] | None:
        size = known.data.get("size")
        if sizes and size is not None and max(sizes) != size:
            raise ValueError(f"the largest, {max(sizes)}, is not data.size, which is {size}")
        return sizes


class Train(Section):
    """`lr` is scaled by global batch / 256. `steps` overrides `epochs`. `batch_size` is global.

    `engine`: with several processes, the trained part whole on each (ddp) or in shards (fsdp).
    `gradients`: in what the processes exchange them; bf16 halves what is sent.
    `ema`: decay of a moving average of the weights, which is then what is evaluated and exported.
    """

    epochs: float = Field(10, gt=0)
    steps: Positive | None = None
    batch_size: Positive = 128
    micro_batches: Positive = 1
    lr: float = Field(3e-4, gt=0)
    min_lr: float = Field(1e-6, ge=0)
    warmup_epochs: float = Field(1, ge=0)
    weight_decay: float = Field(0.03, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    clip_grad: float | None = Field(None, gt=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: bool = False
    engine: Literal["ddp", "fsdp"] = "ddp"
    gradients: Literal["fp32", "bf16"] = "fp32"
    ema: float | None = Field(None, gt=0, lt=1)
    checkpoint_activations: bool = False  # of the student: computed again in the backward pass, for less memory
    patch_share: float = Field(1.0, gt=0, le=1)  # of each image's patches that the ladder and the loss see
    log_every: Positive = 10
    max_skipped: Positive = 20  # steps in a row that are not finite, after which the run ends with a diagnosis
    lower_after: Positive | None = None  # halve the rate each time that so many steps in all were not finite
    timeout: Positive = 1800  # seconds that a process waits for the others


class Checkpoint(Section):
    """`best`: a logged metric whose best checkpoint stays too. `on_full`: what to do when a save cannot be written."""

    every: Positive = 500
    keep: Positive = 2
    best: str | None = None
    asynchronous: bool = False
    on_full: Literal["continue", "stop"] = "continue"


class Eval(Section):
    suite: str | None = None
    every: Positive | None = None
    patience: Positive | None = None  # looks without a better knn/mean after which a stage ends


class Recipe(Section):
    """A whole recipe; `recipe.yaml` in a run folder is one with every default written out."""

    base: str | None = None
    seed: int = Field(0, ge=0)
    teachers: Teachers
    student: Student
    projector: Projector = Projector()
    loss: dict[str, float] = {"cosine": 0.5, "smooth_l1": 0.5}
    standardize: Standardize = Standardize()
    weighting: Weighting = Weighting()
    data: Data
    train: Train = Train()
    checkpoint: Checkpoint = Checkpoint()
    eval: Eval = Eval()
    trackers: dict[str, dict[str, Any]] = {"tensorboard": {}}  # options by name; see unic.trackers
    stages: list[dict[str, Any]] = []  # what each stage in turn changes: sections, or dotted keys; empty: one stage

    @field_validator("trackers", mode="before")
    @classmethod
    def _tracker_names(cls, value: Any) -> Any:
        """`trackers: wandb` and `trackers: [wandb, mlflow]` are short for trackers without options."""
        names = [value] if isinstance(value, str) else value
        are_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
        return {name: {} for name in names} if are_names else names or {}

    @field_validator("data")
    @classmethod
    def _one_size_in_cache(cls, data: Data, known: ValidationInfo) -> Data:
        if data.sizes and "teachers" in known.data and known.data["teachers"].cache:
            raise ValueError("teachers.cache keeps views of one size; leave it out, or data.sizes")
        return data

    @field_validator("stages")
    @classmethod
    def _stage_keys(cls, stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for stage in stages:
            for key in stage:
                section = key.partition(".")[0]
                if section not in STAGE_SECTIONS:
                    raise ValueError(f"a stage cannot change '{key}'{nearest(section, STAGE_SECTIONS)}")
        return stages

    def plans(self) -> list[Recipe]:
        """One recipe for each stage, without `stages`; each stage starts from what the recipe says.

        Raises:
            InputError: a stage does not make a recipe.
        """
        whole = self.model_copy(update={"stages": []})
        changes = [[f"{key}={json.dumps(value)}" for key, value in leaves(stage).items()] for stage in self.stages]
        return [load_recipe(whole, change) for change in changes] or [whole]

    def to_yaml(self) -> str:
        return OmegaConf.to_yaml(OmegaConf.create(self.model_dump(mode="json")))


def load_recipe(source: str | Path | dict[str, Any] | Recipe, overrides: Sequence[str] = ()) -> Recipe:
    """Reads, merges and checks a recipe.

    Args:
        source: a YAML path, the name of a shipped recipe, a mapping, or a finished `Recipe`.
        overrides: `key=value` with dotted keys; values are YAML.

    Raises:
        InputError: one line for the first problem found.
    """
    if isinstance(source, Recipe):
        tree = source.model_dump(mode="json")
    elif isinstance(source, dict):
        tree = _with_base(dict(source), Path("."))
    else:
        tree = _with_base(*_read(str(source)))
    for override in overrides:
        if "=" not in override:
            raise InputError(f"override '{override}': expected key=value, for example train.lr=1e-4")
    try:
        merged = OmegaConf.create(tree)
        for override in overrides:
            _replace(merged, override)
        _check_references(OmegaConf.to_container(merged, resolve=False))
        plain = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(f"recipe: {str(error).splitlines()[0]}") from None
    assert isinstance(plain, dict)
    plain["base"] = None  # resolved: what the base said is now written out
    try:
        return Recipe.model_validate(plain)
    except ValidationError as error:
        raise InputError(_explain(error.errors()[0])) from None


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key: `{train: {lr: 1}}` → `{"train.lr": 1}`; lists are values."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _check_references(tree: Any) -> None:
    """`${key}` and `${oc.env:NAME}` only, and no reference to a reference: a chain of those doubles with every line.

    Raises:
        InputError: such a reference, or so many that what they name could fill the memory.
    """
    holders = {key: text for key, value in leaves(tree).items() if "${" in (text := str(value))}
    references: list[str] = []
    for key, text in holders.items():
        references += (found := _REFERENCE.findall(text))
        if text.count("${") > len(found):
            raise InputError(
                f"recipe: '{_line(key)}': a reference is ${{key}} or ${{oc.env:NAME}}, with none inside it"
            )
    for reference in references:
        name = re.sub(r"[\[\].]+", ".", reference).strip(".")
        if name and any(f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}.") for key in holders):
            raise InputError(f"recipe: '${{{reference}}}' names something that holds a reference itself")
    if len(references) * len(str(tree)) > _MOST_TEXT:
        raise InputError(f"recipe: {len(references)} references in {len(str(tree))} characters are too many")


def _replace(tree: Any, override: str) -> None:
    """An override replaces what was there: `teachers.models={…}` names the teachers, it does not add some."""
    key = override.partition("=")[0]
    try:
        OmegaConf.update(tree, key, OmegaConf.select(OmegaConf.from_dotlist([override]), key), merge=False)
    except Exception as error:  # PyYAML and OmegaConf raise many kinds, all of them the user's to see
        raise InputError(f"override '{_line(override)}': {_line(error)}") from None


def _line(text: object) -> str:
    return " ".join(str(text).split())


def recipe_folder() -> Path:
    """Where the shipped recipes are: inside the installed package, or at the root of a checkout."""
    installed = Path(__file__).parent / "recipes"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "recipes"


def _read(name: str) -> tuple[dict[str, Any], Path]:
    path = Path(name)
    if not path.is_file():
        shipped = recipe_folder() / f"{name}.yaml"
        if not shipped.is_file():
            valid = [entry.stem for entry in recipe_folder().glob("*.yaml")]
            raise InputError(
                f"recipe '{name}': no such file, and no shipped recipe has this name{nearest(name, valid)}"
            )
        path = shipped
    try:
        tree = OmegaConf.to_container(OmegaConf.create(path.read_text()), resolve=False)
    except Exception as error:  # PyYAML and OmegaConf raise many kinds, all of them the user's to see
        first = " ".join(str(error).split())
        raise InputError(f"recipe {path}: not valid YAML ({first})") from None
    if not isinstance(tree, dict) or not tree:
        raise InputError(f"recipe {path}: expected a mapping with at least teachers, student and data")
    return {str(key): value for key, value in tree.items()}, path.parent


def _with_base(tree: dict[str, Any], folder: Path, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    base = tree.get("base")
    if base is None:
        return tree
    beside = folder / str(base)
    name = str(beside) if beside.is_file() else str(base)
    if name in seen:
        raise InputError(f"recipe base '{base}': it inherits from itself")
    parent = _with_base(*_read(name), (*seen, name))
    if "trackers" in tree:
        parent = {**parent, "trackers": tree["trackers"]}
    for section in ("teachers", "loss"):  # maps of names: naming others replaces the whole map, not single entries
        if section in tree and section in parent:
            child = tree[section]
            if section == "loss":
                parent = {**parent, "loss": child}
            elif isinstance(child, dict) and "models" in child:
                parent = {**parent, "teachers": {**parent["teachers"], "models": child["models"]}}
    merged = OmegaConf.to_container(OmegaConf.merge(OmegaConf.create(parent), OmegaConf.create(tree)), resolve=False)
    assert isinstance(merged, dict)
    return {str(key): value for key, value in merged.items()}


def _explain(error: ErrorDetails) -> str:
    """One line for one pydantic error, with the nearest valid key for an unknown one."""
    location = [part for part in error["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    dotted = ".".join(map(str, location))
    if error["type"] == "extra_forbidden":
        return f"recipe: unknown key '{dotted}'{nearest(str(location[-1]), _valid_keys(location[:-1]))}"
    if error["type"] == "missing":
        return f"recipe: '{dotted}' is missing"
    value = error.get("input")
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool) else ""
    return f"recipe: '{dotted}': {error['msg'].removeprefix('Value error, ')}{shown}"


def _valid_keys(location: Sequence[int | str]) -> list[str]:
    section: Any = Recipe
    for part in location:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        section = next((kind for kind in (annotation, *_arguments(annotation)) if _is_section(kind)), None)
        if section is None:
            return []
    return list(section.model_fields)


def _arguments(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", ())


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
