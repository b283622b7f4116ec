"""`unic distill`"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from unic import _completion
from unic.cli.screen import echo, stderr, stdout, tell_next
from unic.cli.sources import begun_recipe, recipe_source, typed_code
from unic.cli.words import TrustCode, seeds_in
from unic.errors import InputError, UnfinishedError, UnicError
from unic.runs.folder import RunFolder, trainings_in
from unic.signals import stop_signals


def distill(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE]",
            help="A YAML file, or the name of a shipped recipe (unic list recipes).",
            autocompletion=_completion.recipes,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Changes to the recipe, for example train.lr=1e-4 data.size=128.",
            autocompletion=_completion.keys,
        ),
    ] = None,
    teachers: Annotated[
        list[str] | None,
        typer.Option(
            help="Without a recipe: the teachers, as URIs or NAME=URI separated by commas; repeatable.",
            autocompletion=_completion.encoders,
        ),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(help="Without a recipe: the student, as a URI.", autocompletion=_completion.encoders),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Without a recipe: the images to train on; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to write [default: runs/RECIPE].")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out, or start it if there is none.")
    ] = False,
    seeds: Annotated[
        list[str] | None,
        typer.Option(
            help="Seeds separated by commas: train once with each, and make one table of all; repeatable. The same "
            "command continues what was interrupted."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Build everything, try one batch, write nothing.")] = False,
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="With --dry-run: use random weights, so that nothing is downloaded."),
    ] = False,
    trust_code: TrustCode = None,
) -> None:
    """Distil the teachers of a recipe into its student: train, export, evaluate, report."""
    if resume and out is None:
        raise InputError("--resume: name the run folder to continue with --out")
    if random_weights and not dry_run:
        raise InputError("--random-weights: only meant for --dry-run")
    chosen_seeds = seeds_in(seeds)
    from unic.recipe.schema import load_recipe

    begun = begun_recipe(out, resume=resume, has_seeds=chosen_seeds is not None)
    source, changes = recipe_source(recipe, overrides or [], teachers, student, data, begun)
    if chosen_seeds is not None:
        from unic.training.trainings import check_seeds

        check_seeds(chosen_seeds, changes)
    settings = load_recipe(source, changes, has_begun=begun is not None)
    trusted = [*(trust_code or []), *typed_code(source, changes)]
    if dry_run:
        from unic import api
        from unic.terminal import describe

        lines = api.dry_run(settings, random_weights=random_weights, seeds=chosen_seeds, trust_code=trusted)
        describe(stdout(), lines)
        return
    folder = out or Path("runs") / (Path(source).stem if isinstance(source, str) else "mine")
    try:
        with stop_signals() as stops, stops.at_once():
            from unic import api

            api.distill(settings, out=folder, resume=resume, seeds=chosen_seeds, trust_code=trusted, console=stderr())
    except UnfinishedError as error:
        _show_run(folder)  # the error line, which says what is missing, comes last
        raise UnfinishedError(f"{error}; to try again: {_again(folder)}") from None
    except UnicError as error:
        if error.remedy is None:
            raise
        raise error.continued_with(f"--resume: {_again(folder)}") from None
    from unic.training.engine import is_main_process

    if is_main_process():
        _show_run(folder)


def _show_run(folder: Path) -> None:
    """Shows a finished run: its table, its report, and the commands to type next."""
    from unic._usage import usage
    from unic.eval.results.schema import Results
    from unic.eval.results.table import render

    run = RunFolder(folder)
    if run.results.is_file():
        stdout().print(render(Results.read(run.results)))
    if run.report.is_file():
        echo(f"report: {run.report}")
    if run.export.is_dir():
        echo(f"the student, in plain timm:\n{usage(run.export)}")
    if trainings := list(trainings_in(folder).values()):
        if not run.results.is_file():
            echo(f"next: unic eval {shlex.quote(str(folder))} --data NAME=PATH   measures all trainings in one table")
        echo(f"each training is a run of its own, for example: unic export {shlex.quote(str(trainings[0]))}")
        return
    name = shlex.quote(str(folder))
    measuring = {
        f"unic eval {name} --data NAME=PATH": "measures it on labelled images, beside its teachers",
        f"unic report {name}": "writes the page with the numbers",
    }
    graph = {f"unic export {name} --format onnx": "writes an ONNX model for other programs"}
    tell_next(graph if run.results.is_file() else {**measuring, **graph})


def _again(folder: Path) -> str:
    """The command that was typed, with the options that resume the run."""
    words = sys.argv[1:]
    added = [] if any(word == "--out" or word.startswith("--out=") for word in words) else ["--out", str(folder)]
    added += [] if "--resume" in words else ["--resume"]
    launcher = "torchrun … -m unic" if int(os.environ.get("WORLD_SIZE", 1)) > 1 else "unic"
    return f"{launcher} {shlex.join([*words, *added])}"
