"""`unic eval`"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from unic import _completion
from unic.cli.screen import echo, stderr, stdout, tell_notes
from unic.cli.words import TrustCode, model_called, seeds_in, sets_in
from unic.errors import InputError, StoppedError
from unic.runs.folder import RunFolder, trainings_in


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Encoder URIs, run folders or folders of several trainings; NAME=URI names a column.",
            autocompletion=_completion.encoders,
        ),
    ],
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            help="Tasks to run, for example 'knn(k=5),logistic(C=0.01)'; repeatable.", autocompletion=_completion.tasks
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Labelled set NAME=PATH with train/ and test/, or PATH?test=0.2; repeatable."),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Shipped suite or YAML file [default: the suite of the run, else quick].")
    ] = None,
    seeds: Annotated[
        list[str] | None,
        typer.Option(help="Seeds of the probes separated by commas, in place of the suite's; repeatable."),
    ] = None,
    teacher: Annotated[
        list[str] | None, typer.Option(help="Name or URI of a model that counts as a teacher; repeatable.")
    ] = None,
    student: Annotated[str | None, typer.Option(help="Name or URI of the model whose gain is measured.")] = None,
    teachers: Annotated[
        bool, typer.Option(help="Also measure the teachers of a run, its student before training, and raw pixels.")
    ] = True,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            help="File to write: .json, .csv, .md, .tex or .safetensors (predictions); repeatable "
            "[default for a single run: results.json in its folder]."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes that measure at a time [default: one for each GPU, or 1]."),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Number of processes that decode images, for each job.")] = 0,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the benchmark sets [default: $UNIC_DATA or data/].")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download missing sets where their publishers allow it.")
    ] = False,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Leave out sets that are not there.")] = False,
    trust_code: TrustCode = None,
) -> None:
    """Measure any encoders on the same images and print one table. What was measured before is not measured again."""
    chosen_seeds = seeds_in(seeds)
    from unic import api
    from unic.eval.named import by_name
    from unic.eval.results.schema import Results
    from unic.eval.results.table import render

    named = by_name(models)
    roles = {model_called(name, named): "teacher" for name in teacher or []}
    if student:
        roles[model_called(student, named)] = "student"
    console = stderr()
    is_whole = not (tasks or data or suite or seeds) and teachers
    into, note = ([], "") if out else _into_run(named, is_whole=is_whole)
    found = api.evaluate(
        named,
        tasks=tasks,
        data=sets_in(data) if data else None,
        suite=suite,
        seeds=chosen_seeds,
        roles=roles,
        teachers=teachers,
        out=out or into,
        jobs=jobs,
        workers=workers,
        data_root=data_root,
        download=download,
        skip_missing=skip_missing,
        trust_code=trust_code or [],
        console=console,
    )
    results = Results.load(found)
    stdout().print(render(results))
    if note:
        tell_notes([note])
    if into:
        run = into[0].parent
        echo(f"written: {', '.join(map(str, into))}\nnext: unic report {shlex.quote(str(run))}", err=True)
    if results.failed():  # the table lacks these cells; a script must not take it for a success
        raise SystemExit(StoppedError.exit_code)


def _into_run(models: dict[str, Any], *, is_whole: bool) -> tuple[list[Path], str]:
    """The files for the results of a single run, in its folder; or none, with a note that says why.

    Args:
        models: models to measure, by name.
        is_whole: whether no option narrows the evaluation. A narrowed one does not replace existing results.
    """
    place = Path(str(next(iter(models.values()))).removeprefix("run:"))
    if len(models) > 1 or not (trainings_in(place) or RunFolder(place).is_begun):
        return [], ""
    from unic.api import results_files
    from unic.outputs import check_writable

    results = RunFolder(place).results
    if results.exists() and not is_whole:
        return [], f"{results} stays as it is; --out {results} replaces it"
    try:
        check_writable(results, named="run")
    except (InputError, StoppedError) as error:
        return [], f"the results are not written into the run: {error}"
    return results_files(place), ""
