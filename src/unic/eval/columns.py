"""Columns of an evaluation: the models that a user gives and those that their runs bring, each under its own name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unic.config import RESERVED, Recipe, load_run_recipe
from unic.encoders import Encoder, build_encoder, uri_of
from unic.errors import InputError

StagesOf = Callable[[Path], Sequence[Recipe]]


@dataclass
class Columns:
    """What `evaluate_models` takes, by column.

    Attributes:
        given: the column of each model that was given, by the name that it was given.
        runs: folders, by the column of the run's student.
        brought: columns that runs add, with the run of each. One whose model is in the table anyway need not stay.
        teachers: by the column of a run's student, then by the name in its recipe: the name of each teacher here,
            which is a column if the teacher is measured.
    """

    models: dict[str, str | Encoder] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Path] = field(default_factory=dict)
    brought: dict[str, str] = field(default_factory=dict)
    teachers: dict[str, dict[str, str]] = field(default_factory=dict)


def columns_of(
    models: Mapping[str, str | Encoder], *, teachers: bool = True, stages_of: StagesOf | None = None
) -> Columns:
    """A column for each model. Given names stay; a run that is alone is called student. What a run brings has its name
    in the recipe, or is called RUN/NAME where that is taken.

    Args:
        models: URIs or encoders by name; a run folder, or `run:DIR`, stands for its student.
        teachers: also bring each run's start, teachers and raw pixels.
        stages_of: the recipe of each stage of a run folder; default: as its recipe.yaml has them.

    Raises:
        InputError: a model is called student beside a run, which has one, or a run's recipe cannot be read.
    """
    runs = {name: folder for name, model in models.items() if (folder := _run_of(model))}
    if runs and "student" in models and "student" not in runs:
        raise InputError(
            f"model 'student': run '{next(iter(runs))}' has a student in the same table; give the model another name"
        )
    found = Columns(given={name: "student" if runs and len(models) == 1 else name for name in models})
    for name, model in models.items():
        found.models[found.given[name]] = model if isinstance(model, Encoder) else uri_of(model)
        found.roles[found.given[name]] = "student" if name in runs else "other"
    for name, folder in runs.items():
        found.runs[found.given[name]] = folder
        recipe = load_run_recipe(folder)
        if teachers:
            _bring(found, name, stages_of(folder) if stages_of else recipe.plans())
        _call(found, name, recipe)
    return found


def teacher_column(name: str, run: str) -> str:
    """What a teacher of a run is called in a table, if that is free; older recipes may have `RESERVED` names."""
    return f"{run}/{name}" if name in RESERVED else name


def _bring(found: Columns, run: str, stages: Sequence[Recipe]) -> None:
    """Adds the models of one run under names that are free."""
    called = found.teachers.setdefault(found.given[run], {})
    for name, uri, role in _models_of(stages):
        column = _free(found, teacher_column(name, run) if role == "teacher" else name, run)
        found.models[column], found.roles[column] = uri, role
        found.brought[column] = run
        if role == "teacher":
            called[name] = column


def _call(found: Columns, run: str, recipe: Recipe) -> None:
    """Says what teachers are called that are not brought: as a given model of their URI, or as nothing in the table."""
    given = {found.models[column]: column for column in found.given.values()}
    called = found.teachers.setdefault(found.given[run], {})
    for name, uri in recipe.teachers.models.items():
        if name not in called:
            called[name] = given.get(uri) or _free(found, teacher_column(name, run), run)


def _models_of(stages: Sequence[Recipe]) -> Iterator[tuple[str, str, str]]:
    """Name, URI and role of where the student started, the teachers of the last stage, and pixels."""
    start = stages[0].student.model
    if not build_encoder(start).from_scratch:
        yield "start", start, "other"
    for name, uri in stages[-1].teachers.models.items():
        yield name, uri, "teacher"
    yield "pixels", "pixels:32", "pixels"


def _free(found: Columns, name: str, run: str) -> str:
    if name in found.models and "/" not in name:
        name = f"{run}/{name}"
    free, number = name, 2
    while free in found.models:
        free, number = f"{name}-{number}", number + 1
    return free


def _run_of(model: str | Encoder) -> Path | None:
    if isinstance(model, Encoder):
        return None
    folder = Path(model.removeprefix("run:").partition("?")[0])
    return folder if (folder / "recipe.yaml").is_file() else None
