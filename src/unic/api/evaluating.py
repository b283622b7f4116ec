"""`unic.evaluate`: any encoders on the same images."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from unic.api.recipes import cache_folder
from unic.encoders import parse_uri
from unic.errors import InputError, StoppedError, UntrustedError
from unic.eval.asked import code_asked_for, parse_tasks
from unic.eval.columns import ModelColumns, columns_of
from unic.eval.entrants import KeptHeads
from unic.eval.named import Given, by_name
from unic.eval.results.schema import Influence, Results
from unic.eval.results.trainings import without_joint
from unic.eval.runner import evaluate_models
from unic.eval.suite import load_suite
from unic.features import default_cache_dir
from unic.heads import exported_heads, heads_of
from unic.recipe.references import WithReferences
from unic.recipe.schema import Recipe
from unic.runs.folder import RunFolder, trainings_in
from unic.terminal import stderr_console, tell
from unic.training.influence import shares
from unic.training.recorded import in_run, recipe_of
from unic.trust import trusting, typed
from unic.typed import code_in_path

log = logging.getLogger("unic")


def evaluate(
    models: Given | Sequence[Given] | Mapping[str, Given],
    *,
    tasks: str | Sequence[str] | None = None,
    data: Mapping[str, str] | None = None,
    suite: str | Path | Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
    roles: Mapping[str, str] | None = None,
    teachers: bool = True,
    out: str | Path | Sequence[str | Path] = (),
    cache: Path | None = None,
    jobs: int | None = None,
    workers: int = 0,
    data_root: Path | None = None,
    download: bool = False,
    skip_missing: bool = False,
    trust_code: Sequence[str] = (),
    console: Console | None = None,
) -> dict[str, Any]:
    """Measures encoders on the same images and returns the contents of `results.json`, see `Results`.

    Scores are cached by the content of weights and images, so nothing is measured twice.

    Args:
        models: one or several, or several by name: URIs (`NAME=URI` names a column), folders of runs or exports,
            encoders. A run folder (or `run:DIR`) stands for its student, a folder of several trainings for the mean of
            the finished ones. Code that a URI names is trusted.
        tasks: for example `["knn", "logistic(C=0.01)"]`, or one text with commas; default: the suite's. A task of the
            suite keeps the suite's options, except those in brackets. `near=knn(k=1)` names the row. A dotted module is
            trusted.
        data: evaluation sets by name, `{"birds": "path/to/folder"}`; default: the suite's. Code that a path names is
            trusted.
        suite: a shipped suite, a YAML file or its content. Default: none if `data` is given; the suite that the recipes
            of all runs name, if it is the same one; else `quick`.
        seeds: seeds of the probes; default: the suite's.
        roles: "student", "teacher" or "other" by model name. By default runs are students, and all others are other.
        teachers: also measure the teachers of each run, alone and concatenated, its student before training, raw
            pixels, and of a single training its student at each nested width (`student-64`). A model that is in the
            table already gets no second column; one whose name is taken is called RUN/NAME.
        out: files to write, by suffix: .json, .csv, .md, .tex; .safetensors for the predicted classes.
        cache: folder of features and scores; default: the user's (`$UNIC_CACHE`).
        jobs: number of processes that measure at a time; default: one for each GPU, 1 without.
        workers: number of processes that decode images, for each job.
        data_root: folder of the benchmark sets; default: `$UNIC_DATA`, else `data/`.
        download: download missing sets where their publishers allow it.
        skip_missing: leave out missing sets instead of refusing.
        trust_code: modules and URIs (without options) whose code may run although only a run or a suite names it.
        console: shows the progress; default: stderr.

    Returns:
        The content of `results.json` (docs/evaluation.md), a JSON object. `unic.Results.load` makes typed attributes of
        its keys.

    Raises:
        InputError: unknown model, task or data set.
        UntrustedError: a run or a suite names code that is not trusted.
    """
    given = by_name(models)
    if not given:
        raise InputError("eval: expected at least one model, for example timm:vit_small_patch16_224 or a run folder")
    uris = typed(
        uri for uri in given.values() if isinstance(uri, str) and ":" in uri
    )  # the name of a folder is not that of a module
    asked = parse_tasks(tasks or ())
    sets = [name for path in (data or {}).values() for name in code_in_path(str(path))]
    with trusting(trust_code, uris, sets, code_asked_for(asked)):
        columns = columns_of(given, teachers=teachers, stages_of=stages_of)
        console = console or stderr_console()
        for line in columns.left_out:
            tell(console, line)
        asked_roles = {columns.given.get(name, name): role for name, role in (roles or {}).items()}
        all_roles = columns.roles | without_joint(asked_roles, columns.trainings)
        runs = columns.runs
        chosen = None if data and not suite else load_suite(suite or _own_suite(runs))
        trained = _student_run(columns, all_roles)
        asks_influence = "influence" in ([one.task for one in asked] or (chosen.tasks if chosen else ()))
        whole = [name for name in runs if not _is_cut(str(columns.models[name]))]
        written = (one.written for one in (*map(recipe_of, runs.values()), chosen) if one)
        results = evaluate_models(
            columns.models,
            all_roles,
            brought=columns.brought,
            trainings=columns.trainings,
            suite=chosen,
            tasks=tasks,
            data=data,
            seeds=seeds,
            heads=_heads_of_others(columns)
            | {name: _heads(run, columns.teachers[name]) for name, run in runs.items() if name in whole},
            out=[Path(target) for target in ([out] if isinstance(out, str | Path) else out)],
            cache=cache or default_cache_dir(),
            jobs=jobs,
            workers=workers,
            root=data_root,
            download=download,
            skip_missing=skip_missing,
            influence=_influence(trained) if trained and asks_influence else None,
            hidden=WithReferences().written_as(*written),
            console=console,
        )
    return results.as_dict()


def evaluate_run(folder: Path, settings: Recipe, console: Console) -> None:
    """Measures a run, or several trainings, with the suite of the recipe, and writes the results into its folder.

    Raises:
        StoppedError: some cells could not be measured; the others are written.
    """
    results = results_of_run(folder, settings, settings.eval.suite, results_files(folder), console=console)
    if failed := results.failed():
        raise StoppedError(f"{len(failed)} cells were not measured, the first is {failed[0]}")


def results_of_run(
    folder: Path,
    settings: Recipe,
    suite: str | Path | Mapping[str, Any] | None,
    out: Sequence[Path],
    *,
    jobs: int | None = None,
    console: Console,
) -> Results:
    """`evaluate` of one run, or several trainings, in types; `settings` is the recipe, whose cache it uses."""
    cache = cache_folder(settings)
    return Results.load(evaluate([str(folder)], suite=suite, out=out, cache=cache, jobs=jobs, console=console))


def results_files(folder: Path) -> list[Path]:
    """The files that an evaluation writes into a run folder. Of several trainings, each has its own predictions."""
    run = RunFolder(folder)
    return [run.results] if trainings_in(folder) else [run.results, run.predictions]


def _own_suite(runs: Mapping[str, Path]) -> str | dict[str, Any] | None:
    """The suite that all the runs name in their recipes; None without one."""
    named = [stages_of(run)[-1].eval.suite for run in runs.values()]
    return named[0] if named and all(suite == named[0] for suite in named) else None


def _student_run(columns: ModelColumns, roles: Mapping[str, str]) -> Path | None:
    """The run of the student, to read the teachers' influence from; None for a mean of trainings, which has no run."""
    student = next((name for name in columns.runs if roles[name] == "student"), None)
    is_mean = any(student in members for members in columns.trainings.values())
    return None if student is None or is_mean else columns.runs[student]


def stages_of(run: Path) -> list[Recipe]:
    """The recipes of the stages of a run, with the models that it has recorded."""
    return [in_run(plan, run) for plan in recipe_of(run).plans()]


def _heads(run: Path, called: Mapping[str, str]) -> KeptHeads:
    """The kept heads of a run, by the names of their teachers in the table."""
    return {called[teacher]: load for teacher, load in heads_of(run).items()}


def _heads_of_others(columns: ModelColumns) -> dict[str, KeptHeads]:
    """The kept heads of models that are no student here: exports, and teachers that are the student of another run."""
    found: dict[str, KeptHeads] = {}
    for name, model in columns.models.items():
        uri = model if isinstance(model, str) else ""
        if name not in columns.runs and uri.startswith("run:") and not _is_cut(uri):
            folder = Path(parse_uri(uri).name).expanduser()
            with suppress(InputError):  # of a run that cannot be read the exported model is measured all the same
                found[name] = heads_of(folder) if RunFolder(folder).is_begun else exported_heads(folder)
    return {name: heads for name, heads in found.items() if heads}


def _is_cut(uri: str) -> bool:
    """Whether a model is the first channels of a student; kept heads belong to a whole one."""
    return "width" in parse_uri(uri).options


def _influence(run: Path) -> Influence | None:
    """The influence of the teachers, as the training has recorded it; None without checkpoints or metrics."""
    try:
        return Influence(**shares(run))
    except UntrustedError:
        raise
    except (InputError, OSError, ValueError, KeyError) as error:
        log.warning("influence of the teachers of %s is unknown: %s", run, error)
        return None
