"""Columns of an evaluation: the models that a user gives, and those that are added for runs, each with its own name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unic.encoders import Encoder, build_encoder, parse_uri, uri_of
from unic.errors import InputError
from unic.eval.named import free_name
from unic.recipe.schema import RESERVED, Recipe, load_run_recipe
from unic.runs.folder import RunFolder, trainings_in
from unic.runs.state import has_ended

StagesOf = Callable[[Path], Sequence[Recipe]]


@dataclass
class ModelColumns:
    """The models of `evaluate_models` by column, and what is known of them.

    Attributes:
        models: URI or encoder of each column.
        roles: role of each column.
        given: column of each given model, by the name that the user gave it.
        runs: run folders by the column of their student.
        trainings: columns of the trainings, by the student that is their mean. This student has no entry in `models`
            and `roles`.
        left_out: a line for each training that has not ended.
        brought: columns that are added for a run, with the name of the run. Such a column may be dropped if its model
            has another column.
        teachers: names of teachers in this table, by the column of a run's student, then by the name in its recipe. The
            name is a column if the teacher is measured.
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
) -> ModelColumns:
    """The columns of an evaluation.

    - A given model keeps its name; a single run is called `student`.
    - A model that is added for a run has its name in the recipe, or RUN/NAME if that is taken.
    - A folder of several trainings has a column for their mean and one for each training: `seed-0`, or NAME/seed-0 if
      other models are given. The models of their recipe are added once.

    Args:
        models: URIs or encoders by name. A run folder, or `run:DIR`, stands for its student. A folder of trainings
            stands for those that have ended.
        teachers: also add the start, the teachers and the raw pixels of each run, and of a single training its student
            at each nested width.
        stages_of: a function that gives the recipes of all stages of a run folder; default: those in its recipe.yaml.

    Raises:
        InputError: another model is called student beside a run, a run's recipe cannot be read, or no training of a
            folder has ended.
    """
    found = ModelColumns()
    runs = {name: of_model for name, model in models.items() if (of_model := _runs_of(model, found.left_out))}
    if runs and "student" in models and "student" not in runs:
        raise InputError(
            f"model 'student': run '{next(iter(runs))}' has a student as well; give the model another name"
        )
    found.given.update({name: "student" if runs and len(models) == 1 else name for name in models})
    for name, model in models.items():
        own = runs.get(name, {})
        for column, uri in zip(_students(found, name, own), own or [model], strict=True):
            if column in found.models:
                raise InputError(
                    f"model '{column}': a training of '{name}' has the same name; give the model another one"
                )
            found.models[column] = uri if isinstance(uri, Encoder) else uri_of(uri)
            found.roles[column] = "student" if own else "other"
    for name, own in runs.items():
        known: dict[tuple[str, str, str], str] = {}  # columns that were added for earlier trainings
        columns = _students(found, name, own)
        for column, folder in zip(columns, own.values(), strict=True):
            run = column if len(columns) > 1 else name
            found.runs[column] = folder
            recipe = load_run_recipe(folder)
            if teachers:
                stages = stages_of(folder) if stages_of else recipe.plans()
                widths = stages[-1].student.widths if len(own) == 1 else []
                _add_models(found, column, run, [*_cut(found, column, widths), *_models_of(stages)], known)
            _name_teachers(found, column, run, recipe)
    return found


def _students(found: ModelColumns, name: str, runs: Mapping[str, Path]) -> list[str]:
    """The columns of a given model: its own, or those of several trainings, which are added to `found.trainings`."""
    column = found.given[name]
    if len(runs) < 2:
        return [column]
    is_alone = len(found.given) == 1
    members = [folder.name if is_alone else f"{column}/{folder.name}" for folder in runs.values()]
    found.trainings[column] = members
    return members


def teacher_column(name: str, run: str) -> str:
    """The name of a run's teacher in a table: its own, or RUN/NAME for `RESERVED` names, which old recipes may have."""
    return f"{run}/{name}" if name in RESERVED else name


def _add_models(
    found: ModelColumns,
    student: str,
    run: str,
    models: Sequence[tuple[str, str, str]],
    known: dict[tuple[str, str, str], str],
) -> None:
    """Adds the models of one run under free names, and to `known`; those that are in `known` already stay."""
    called = found.teachers.setdefault(student, {})
    for model in models:
        name, uri, role = model
        if model not in known:
            column = _free(found, teacher_column(name, run) if role == "teacher" else name, run)
            found.models[column], found.roles[column] = uri, role
            found.brought[column] = run
            known[model] = column
        if role == "teacher":
            called[name] = known[model]


def _name_teachers(found: ModelColumns, student: str, run: str, recipe: Recipe) -> None:
    """Names the teachers that were not added: like the given model of the same URI, else by a free name."""
    given = {found.models[column]: column for column in found.given.values() if column in found.models}
    called = found.teachers.setdefault(student, {})
    for name, uri in recipe.teachers.uris.items():
        if name not in called:
            called[name] = given.get(uri) or _free(found, teacher_column(name, run), run)


def _cut(found: ModelColumns, student: str, widths: Sequence[int]) -> Iterator[tuple[str, str, str]]:
    """Name, URI and role of a run's student at each nested width that is not given; none if it is cut already."""
    uri = str(found.models[student])
    if "width" not in parse_uri(uri).options:
        for width in widths:
            cut = f"{uri}{'&' if '?' in uri else '?'}width={width}"
            if cut not in found.models.values():
                yield f"student-{width}", cut, "other"


def _models_of(stages: Sequence[Recipe]) -> Iterator[tuple[str, str, str]]:
    """Name, URI and role of the student's start, of the teachers of the last stage, and of pixels."""
    start = stages[0].student.model
    if not build_encoder(start).from_scratch:
        yield "start", start, "other"
    for name, uri in stages[-1].teachers.uris.items():
        yield name, uri, "teacher"
    yield "pixels", "pixels:32", "pixels"


def _free(found: ModelColumns, name: str, run: str) -> str:
    taken = {*found.models, *found.trainings}
    if name in taken and "/" not in name:
        name = f"{run}/{name}"
    return free_name(name, taken)


def _runs_of(model: str | Encoder, left_out: list[str]) -> dict[str, Path]:
    """Run folders by URI: the folder itself for a run, those that have ended for a folder of trainings, else none."""
    if isinstance(model, Encoder):
        return {}
    place, mark, options = model.removeprefix("run:").partition("?")
    folder = Path(place)
    if RunFolder(folder).is_begun:
        return {model: folder}
    runs = trainings_in(folder)
    ended = {seed: run for seed, run in runs.items() if _has_ended(run)}
    if runs and not ended:
        raise InputError(f"model '{model}': none of its trainings has ended: {', '.join(map(str, runs.values()))}")
    left_out += [f"{run}: left out, as this training has not ended" for seed, run in runs.items() if seed not in ended]
    return {f"run:{run}{mark}{options}": run for run in ended.values()}


def _has_ended(run: Path) -> bool:
    return has_ended(run, len(load_run_recipe(run).stages))
