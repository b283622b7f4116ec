"""The recipe: one strict schema, read from YAML with `base:` inheritance and dotted `key=value` overrides."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from unic.errors import InputError, first_line_of, nearest
from unic.recipe.base import FORM, Losses, LossSection, OrText, Section
from unic.recipe.files import UNNAMED, RecipeFile, holder, naming
from unic.recipe.keys import first_error, meant
from unic.recipe.reading import changes, check_unicode, leaves, read_file, replace, with_base
from unic.recipe.references import WithReferences, closed, resolve
from unic.recipe.sections import (
    CheckpointSection,
    DataSection,
    EvalSection,
    ProjectorSection,
    StandardizeSection,
    StudentSection,
    TrainSection,
    WeightingSection,
)
from unic.recipe.teachers import TeachersSection
from unic.runs.folder import RunFolder

STAGE_SECTIONS = ("data", "train", "student", "teachers")
_NO_KEYS = ("function-", FORM)  # beginnings of what pydantic adds to the path of a key
_OF_LOSS = re.compile(r"loss[.\[]")  # begins an override of one loss, which keeps the others
HOLDOUT = 0.05  # share of each source, where `train.interpolate: auto` needs images that were not trained on
RESERVED = ("student", "start", "pixels", "concat")  # columns of every table, so no teacher may have these names


class Recipe(Section, WithReferences):
    """A whole recipe. `recipe.yaml` in a run folder has every default written out."""

    base: str | None = None
    """A recipe to start from: a file beside this one, or the name of a shipped one. Maps of names (`teachers.models`,
    `loss`, `trackers`) are replaced whole, and so are `projector`, `standardize` and `weighting` by another `type`;
    everything else is merged key by key."""
    seed: int = Field(0, ge=0)
    """Seed of all random draws; each is a hash of the seed, the step and the image."""
    teachers: TeachersSection
    student: StudentSection
    projector: Annotated[ProjectorSection, OrText] = ProjectorSection()
    loss: Losses = Field({"cosine": 0.5, "smooth_l1": 0.5})
    """Weights by name: `cosine`, `smooth_l1`, `mse`, another loss (`unic list losses`), or a dotted module. A name
    alone is that loss with weight 1. For a loss with options write a mapping: `{NAME: {weight: 0.5, OPTION: VALUE}}`,
    where `weight` is 1 by default. On the command line `loss.cosine=1` changes one loss and keeps the others, also
    those of the default; `loss=cosine` and `loss={cosine: 1}` replace all."""
    standardize: Annotated[StandardizeSection, OrText] = StandardizeSection()
    weighting: Annotated[WeightingSection, OrText] = WeightingSection()
    data: DataSection
    train: TrainSection = TrainSection()
    checkpoint: CheckpointSection = CheckpointSection()
    eval: EvalSection = EvalSection()
    trackers: dict[str, dict[str, Any]] = Field({"tensorboard": {}})
    """`tensorboard`, `wandb`, `mlflow`, …: a name, a list of names, or options by name."""
    stages: list[dict[str, Any]] = Field([])
    """Changes that each stage makes to the recipe: sections, or dotted keys, of `data`, `train`, `student`, `teachers`.
    A mapping changes the keys in it and keeps the others, so each stage has all teachers. Replaced whole are lists, the
    `loss` of a teacher, and a teacher that is written as a URI alone, which then has no options. Empty: one stage."""
    _folders: list[Path] = PrivateAttr(default_factory=list)
    _name: str = PrivateAttr(UNNAMED)

    @property
    def folders(self) -> Sequence[Path]:
        """Folders of the recipe and its bases: files that they name may lie beside them."""
        return self._folders

    @property
    def name(self) -> str:
        """The beginning of a line about it: `recipe`, with the name of its file unless overrides changed it."""
        return self._name

    def read_as(self, other: Recipe) -> Recipe:
        """Itself, with the folders, name and references of another recipe."""
        self._folders, self._name = list(other.folders), other.name
        return self.written_as(other.written)

    @field_validator("trackers", mode="before")
    @classmethod
    def _tracker_names(cls, value: Any) -> Any:
        """`trackers: wandb` and `trackers: [wandb, mlflow]` are short for trackers without options."""
        names = [value] if isinstance(value, str) else value
        are_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
        return {name: {} for name in names} if are_names else names or {}

    @model_validator(mode="before")
    @classmethod
    def _auto_needs_holdout(cls, tree: Any) -> Any:
        """Writes `data.holdout` into the recipe, because it decides what is trained on: a resume must keep it."""
        train, data = (tree.get(key) if isinstance(tree, dict) else None for key in ("train", "data"))
        if isinstance(train, dict) and train.get("interpolate") == "auto" and isinstance(data, dict):
            return {**tree, "data": {"holdout": HOLDOUT, **data}}
        return tree

    @field_validator("data")
    @classmethod
    def _one_size_in_cache(cls, data: DataSection, known: ValidationInfo) -> DataSection:
        if data.sizes and "student" in known.data and known.data["student"].train_size:
            raise ValueError("student.train_size is one size for all views; leave it out, or data.sizes")
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

    def __eq__(self, other: object) -> bool:
        """Whether all keys are equal. The files that they were read from do not matter."""
        return isinstance(other, Recipe) and self.model_dump() == other.model_dump()

    def losses_to(self, teacher: str) -> tuple[str, dict[str, float | dict[str, Any]]]:
        """The losses to a teacher, its own or those of the recipe: their key, and weights or options by name."""
        own = self.teachers.models[teacher].loss
        key, losses = ("loss", self.loss) if own is None else (f"teachers.models.{teacher}.loss", own)
        return key, {
            name: each.model_dump() if isinstance(each, LossSection) else each for name, each in losses.items()
        }

    def plans(self) -> list[Recipe]:
        """One recipe for each stage, without `stages`: the recipe with the changes of that stage alone.

        Raises:
            InputError: a stage does not give a valid recipe, the last one trains no student, or one trains on images
                that another holds out.
        """
        whole = self.model_copy(update={"stages": []})
        # Values are final by now: text that looks like a reference, as to a variable that is not set, is plain text.
        overrides = [
            [f"{key}={json.dumps(closed(value))}" for key, value in changes(stage).items()] for stage in self.stages
        ]
        with naming(self._name):  # a stage, which is applied as overrides, stands in the recipe's file
            plans = [load_recipe(whole, change) for change in overrides] or [whole]
        if plans[-1].student.frozen:
            raise InputError(
                "recipe: 'student.frozen' in the last stage leaves the student untrained; train it in a later stage, "
                "for example stages: [{student.frozen: true, train.epochs: 1}, {}]"
            )
        if any(plan.data.holdout != plans[0].data.holdout for plan in plans):
            raise InputError(
                "recipe: 'data.holdout' cannot change between stages: one would train on images that another holds out"
            )
        return plans

    def to_yaml(self) -> str:
        """The recipe as it may be shared: `${oc.env:NAME}` is kept as written, other references are resolved."""
        text = OmegaConf.to_yaml(OmegaConf.create(self.unresolved(self.model_dump(mode="json"))))
        if self.train.steps is None or self.stages:  # a stage may set them
            return text
        return re.sub(
            r"(?m)^(train:\n(?:  .*\n)*?  epochs: .*)$", r"\1  # does not count, as steps is set", text, count=1
        )


def load_recipe(
    source: str | Path | dict[str, Any] | Recipe,
    overrides: Sequence[str] = (),
    *,
    has_begun: bool = False,
    may_miss: bool = False,
) -> Recipe:
    """Reads, merges and checks a recipe.

    Args:
        source: a YAML path, the name of a shipped recipe, a mapping, or a finished `Recipe`.
        overrides: `key=value` with dotted keys; values are YAML.
        has_begun: it is the recipe of an existing run, whose teachers may have `RESERVED` names: they once were valid.
        may_miss: keep `${oc.env:NAME}` where this variable is not set.

    Raises:
        InputError: names the first problem in one line.
    """
    files: list[RecipeFile] = []
    if isinstance(source, Recipe):
        tree = closed(source.model_dump(mode="json"))
    elif isinstance(source, dict):
        tree = with_base(RecipeFile(UNNAMED, Path("."), dict(source)), files)
    else:
        tree = with_base(read_file(str(source)), files)
    name = files[0].name if files else UNNAMED
    for override in overrides:
        if "=" not in override:
            raise InputError(f"override '{override}': expected key=value, for example train.lr=1e-4")
    if "loss" not in tree and any(_OF_LOSS.match(override) for override in overrides):
        tree = {**tree, "loss": Recipe.model_fields["loss"].default}
    try:
        merged = OmegaConf.create(tree)
        for override in overrides:
            replace(merged, override)
        unresolved = OmegaConf.to_container(merged, resolve=False)
    except OmegaConfBaseException as error:
        raise InputError(f"{name}: {first_line_of(error)}") from None
    assert isinstance(unresolved, dict)
    plain, written = resolve({str(key): value for key, value in unresolved.items()}, name, may_miss=may_miss)
    check_unicode(plain, name)
    plain["base"] = None  # its keys are merged by now
    try:
        recipe = Recipe.model_validate(plain)
    except ValidationError as error:
        first = first_error(error.errors())
        location = [part for part in first["loc"] if not (isinstance(part, str) and part.startswith(_NO_KEYS))]
        raise InputError(f"{holder(files, overrides, location)}: {_explain(first, location)}") from None
    if not (has_begun or isinstance(source, Recipe)):
        _check_names(recipe, lambda key: holder(files, overrides, key.split(".")))
    if isinstance(source, Recipe):
        recipe.read_as(source)
    else:
        recipe._folders, recipe._name = [file.folder for file in files], name
    if overrides:
        recipe._name = UNNAMED
    return recipe.written_as(written)


def load_run_recipe(run: Path) -> Recipe:
    """The recipe of a run folder, to read its results. A reference to a variable that is not set here is kept.

    Raises:
        InputError: the recipe is missing or not valid.
    """
    return load_recipe(RunFolder(run).recipe, has_begun=True, may_miss=True)


def _check_names(recipe: Recipe, held_by: Callable[[str], str]) -> None:
    """Refuses teachers, also those of stages, whose names are columns of every table.

    Args:
        recipe: the recipe, with its stages.
        held_by: returns the beginning of a line about a key (`holder`).
    """
    named = [f"teachers.models.{name}" for name in recipe.teachers.models]
    for key in [*named, *(key for stage in recipe.stages for key in leaves(stage))]:
        below = key.removeprefix("teachers.models.")
        name = below.partition(".")[0]
        if below != key and name in RESERVED:
            raise InputError(
                f"{held_by(key)}: 'teachers.models.{name}': every table has a column '{name}'; give the teacher "
                f"another name, for example '{name}_teacher'"
            )


def _explain(error: ErrorDetails, location: Sequence[int | str]) -> str:
    """One line for a pydantic error. For an unknown key it names the nearest valid one."""
    dotted = ".".join(map(str, location))
    if error["type"] == "extra_forbidden":
        return f"unknown key '{dotted}'{meant(Recipe, location)}"
    if error["type"] == "missing":
        return f"'{dotted}' is missing"
    value = error.get("input")
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool) else ""
    return f"'{dotted}': {error['msg'].removeprefix('Value error, ')}{shown}"
