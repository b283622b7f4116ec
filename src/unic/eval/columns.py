"""Columns of an evaluation: the models that a user gives and those that their runs bring, each under its own name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unic.encoders import Encoder, build_encoder, uri_of
from unic.errors import InputError
from unic.recipe.schema import RESERVED, Recipe, load_run_recipe
from unic.runs.folder import trainings_in
from unic.runs.state import has_ended

StagesOf = Callable[[Path], Sequence[Recipe]]


@dataclass
class Columns:
    """What `evaluate_models` takes, by column.

    Attributes:
        given: the column of each model that was given, by the name that it was given.
        runs: folders, by the column of the run's student.
        trainings: columns of the students that are the mean of several runs, with the columns of these. The former are
            no `models`, and have no role: they are students.
        left_out: a line for each training that has not ended.
        brought: columns that runs add, with the run of each. One whose model is in the table anyway need not stay.
        teachers: by the column of a run's student, then by the name in its recipe: the name of each teacher here,
            which is a column if the teacher is measured.
    """

    models: dict[str, str | Encoder] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Path] = field(default_factory=dict)
    trainings: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    brought: dict[str, str] = field(default_factory=dict)
    teachers: dict[str, dict[str, str]] = field(default_factory=dict)


def columns_of(
    models: Mapping[str, str | Encoder], *, teachers: bool = True, stages_of: StagesOf | None = None
) -> Columns:
    """A column for each model. Given names stay; a run that is alone is called student. What a run brings has its name
    in the recipe, or is called RUN/NAME where that is taken. A folder of several trainings has a column that is their
    mean, and one for each of them: `seed-0`, of one folder beside other models NAME/seed-0. They bring their models
    once.

    Args:
        models: URIs or encoders by name; a run folder, or `run:DIR`, stands for its student, a folder of trainings for
            those of them that have ended.
        teachers: also bring each run's start, teachers and raw pixels.
        stages_of: the recipe of each stage of a run folder; default: as its recipe.yaml has them.

    Raises:
        InputError: a model is called student beside a run, which has one, a run's recipe cannot be read, or no training
            of a folder has ended.
    """
    found = Columns()
    runs = {name: of_model for name, model in models.items() if (of_model := _runs_of(model, found.left_out))}
    if runs and "student" in models and "student" not in runs:
        raise InputError(
            f"model 'student': run '{next(iter(runs))}' has a student in the same table; give the model another name"
        )
    found.given.update({name: "student" if runs and len(models) == 1 else name for name in models})
    for name, model in models.items():
        own = runs.get(name, {})
        for column, uri in zip(_students(found, name, own), own or [model], strict=True):
            if column in found.models:
                raise InputError(f"model '{column}': one of the trainings of '{name}' is called so; give another name")
            found.models[column] = uri if isinstance(uri, Encoder) else uri_of(uri)
            found.roles[column] = "student" if own else "other"
    for name, own in runs.items():
        known: dict[tuple[str, str, str], str] = {}  # what the trainings before have brought
        columns = _students(found, name, own)
        for column, folder in zip(columns, own.values(), strict=True):
            run = column if len(columns) > 1 else name
            found.runs[column] = folder
            recipe = load_run_recipe(folder)
            if teachers:
                _bring(found, column, run, stages_of(folder) if stages_of else recipe.plans(), known)
            _call(found, column, run, recipe)
    return found


def _students(found: Columns, name: str, runs: Mapping[str, Path]) -> list[str]:
    """The columns of what was given under a name: its own, or those of several trainings, which are noted."""
    column = found.given[name]
    if len(runs) < 2:
        return [column]
    is_alone = len(found.given) == 1
    members = [folder.name if is_alone else f"{column}/{folder.name}" for folder in runs.values()]
    found.trainings[column] = members
    return members


def teacher_column(name: str, run: str) -> str:
    """What a teacher of a run is called in a table, if that is free; older recipes may have `RESERVED` names."""
    return f"{run}/{name}" if name in RESERVED else name


def _bring(
    found: Columns, student: str, run: str, stages: Sequence[Recipe], known: dict[tuple[str, str, str], str]
) -> None:
    """Adds the models of one run under names that are free, but for those that are `known`, which it adds to."""
    called = found.teachers.setdefault(student, {})
    for model in _models_of(stages):
        name, uri, role = model
        if model not in known:
            column = _free(found, teacher_column(name, run) if role == "teacher" else name, run)
            found.models[column], found.roles[column] = uri, role
            found.brought[column] = run
            known[model] = column
        if role == "teacher":
            called[name] = known[model]


def _call(found: Columns, student: str, run: str, recipe: Recipe) -> None:
    """Says what teachers are called that are not brought: as a given model of their URI, or as nothing in the table."""
    given = {found.models[column]: column for column in found.given.values() if column in found.models}
    called = found.teachers.setdefault(student, {})
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
    taken = {*found.models, *found.trainings}
    if name in taken and "/" not in name:
        name = f"{run}/{name}"
    free, number = name, 2
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def _runs_of(model: str | Encoder, left_out: list[str]) -> dict[str, Path]:
    """Run folders by their URIs: one of a run, of a folder of trainings those that have ended, else none."""
    if isinstance(model, Encoder):
        return {}
    place, mark, options = model.removeprefix("run:").partition("?")
    folder = Path(place)
    if (folder / "recipe.yaml").is_file():
        return {model: folder}
    runs = trainings_in(folder)
    ended = {seed: run for seed, run in runs.items() if _has_ended(run)}
    if runs and not ended:
        raise InputError(f"model '{model}': none of its trainings has ended: {', '.join(map(str, runs.values()))}")
    left_out += [
        f"{run}: the training has not ended, and is left out" for seed, run in runs.items() if seed not in ended
    ]
    return {f"run:{run}{mark}{options}": run for run in ended.values()}


def _has_ended(run: Path) -> bool:
    return has_ended(run, len(load_run_recipe(run).stages))
