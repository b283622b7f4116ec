"""The command line: a thin face on `unic.api`. Heavy imports happen inside the commands, so `--help` is quick."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unic import __version__, _completion
from unic._once import Once
from unic._text import printable, printable_lines
from unic.arguments import as_flags
from unic.errors import (
    INTERRUPTED,
    InputError,
    PreemptedError,
    StoppedError,
    UnfinishedError,
    UnicError,
    exit_code_of,
    nearest,
    one_line,
)
from unic.runs.folder import trainings_in
from unic.signals import StoppedBySignal, orderly_end, stop_signals
from unic.synthesis.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Distil several pretrained vision encoders into one, measure it, ship it as a plain timm model.",
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        _echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.with_resource(as_flags())
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


TrustCode = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-code", metavar="NAME",
        help="Run this code though a file names it: a module, or a URI without its options; repeatable.",
    ),
]  # fmt: skip
LISTS = ("encoders", "losses", "projectors", "tasks", "data", "generated", "suites", "recipes")


@app.command(cls=Once)
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
            metavar="[KEY=VALUE]...", help="For example train.lr=1e-4 data.size=128.", autocompletion=_completion.keys
        ),
    ] = None,
    teachers: Annotated[
        list[str] | None,
        typer.Option(
            help="Without a recipe: URIs or NAME=URI, with commas; repeatable.", autocompletion=_completion.encoders
        ),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(help="Without a recipe: the URI of the student.", autocompletion=_completion.encoders),
    ] = None,
    data: Annotated[list[str] | None, typer.Option(help="Without a recipe: images to train on; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder [default: runs/RECIPE].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, or start it.")] = False,
    seeds: Annotated[
        list[str] | None,
        typer.Option(
            help="Train once with each of these seeds, with commas, and make one table of all; repeatable. The same "
            "command again goes on."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Build everything, try one batch, write nothing.")] = False,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="With --dry-run: load no pretrained weights (no download).")
    ] = False,
    trust_code: TrustCode = None,
) -> None:
    """Distil the teachers of a recipe into its student: train, export, evaluate, report."""
    if resume and out is None:
        raise InputError("--resume: name the run folder to continue with --out")
    if random_weights and not dry_run:
        raise InputError("--random-weights: only meant for --dry-run")
    numbers = _seeds(seeds)
    from unic.recipe.schema import load_recipe

    begun = _begun(out, resume=resume, has_seeds=numbers is not None)
    source, changes = _recipe_source(recipe, overrides or [], teachers, student, data, begun)
    if numbers is not None:
        from unic.training.trainings import check_seeds

        check_seeds(numbers, changes)
    settings = load_recipe(source, changes, has_begun=begun is not None)
    trusted = [*(trust_code or []), *_typed_code(source, changes)]
    if dry_run:
        from unic import api
        from unic.terminal import describe

        describe(_stdout(), api.dry_run(settings, random_weights=random_weights, seeds=numbers, trust_code=trusted))
        return
    folder = out or Path("runs") / (Path(source).stem if isinstance(source, str) else "mine")
    try:
        with stop_signals() as stops, stops.at_once():
            from unic import api

            api.distill(settings, out=folder, resume=resume, seeds=numbers, trust_code=trusted, console=_console())
    except UnfinishedError as error:
        _show_run(folder)  # what there is; the line that says what is missing comes last
        raise UnfinishedError(f"{error}; to try again: {_again(folder)}") from None
    except (PreemptedError, StoppedError, InputError) as error:
        if not str(error).endswith("with --resume"):
            raise
        raise type(error)(f"{error}: {_again(folder)}") from None
    from unic.training.engine import is_main_process

    if is_main_process():
        _show_run(folder)


@app.command(cls=Once)
def init(
    teachers: Annotated[
        list[str] | None,
        typer.Option(help="URIs or NAME=URI, separated by commas; repeatable.", autocompletion=_completion.encoders),
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="The URI of the student.", autocompletion=_completion.encoders)
    ] = None,
    data: Annotated[list[str] | None, typer.Option(help="Images to train on; repeatable.")] = None,
    epochs: Annotated[float | None, typer.Option(min=0, help="How often the images are seen.")] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("recipe.yaml"),
) -> None:
    """Write a commented recipe from flags; asks for what is not given."""
    from unic.compose import check_new, compose, write_recipe
    from unic.suited import suited

    check_new(out)
    if sys.stdin.isatty():
        asked = "teachers (URIs with commas, for example timm:vit_base_patch16_224.dino)"
        teachers = teachers or [typer.prompt(asked)]
        student = student or typer.prompt("student", default="timm:vit_small_patch16_224?pretrained=false")
        data = data or [typer.prompt("training images (folder, Parquet, shards or hub name)")]
    tree, notes = suited(compose(_uris(teachers), student or "", data or [], epochs=epochs))
    write_recipe(tree, out)
    _tell_notes(notes)
    name = shlex.quote(str(out))
    _echo(out)
    _tell_next(
        {
            f"unic check {name}": "shows what the run needs and what would fail later",
            f"unic distill {name}": "trains, exports, evaluates and writes a report",
        }
    )
    if "eval" not in tree:
        from unic.terminal import tell

        text = "To measure the student at the end: name a suite in eval.suite, or images with a labelled test part."
        tell(_stdout(), text)


@app.command(cls=Once)
def schema(
    what: Annotated[str, typer.Argument(metavar="[recipe|results]", help="The file to describe.")] = "recipe",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the recipe's keys as a page to read.")] = False,
) -> None:
    """Print the JSON schema of a recipe, for editors that complete and check YAML, or of results.json."""
    if what not in ("recipe", "results"):
        raise InputError(f"schema: unknown file '{what}'{nearest(what, ('recipe', 'results'))}")
    if markdown and what == "results":
        raise InputError("schema results: --markdown is for the recipe")
    from unic.schema import as_json, as_markdown, results_as_json

    _echo(as_markdown() if markdown else as_json() if what == "recipe" else results_as_json(), nl=not markdown)


@app.command(cls=Once)
def check(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A YAML file, or the name of a shipped recipe (unic list recipes).", autocompletion=_completion.recipes
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="For example train.batch_size=512.", autocompletion=_completion.keys
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="That will run it, each on a device like this one.")] = 1,
    price: Annotated[float | None, typer.Option(min=0, help="Of an hour of all that runs, for the cost.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the run folder would be, for the space on its disk.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
    trust_code: TrustCode = None,
) -> None:
    """Pre-flight: models, images, memory, time and disk of a recipe, and what would fail later (exit code 2)."""
    import json

    from unic.recipe.schema import load_recipe

    settings = load_recipe(recipe, overrides or [])
    trusted = [*(trust_code or []), *_typed_code(recipe, overrides or [])]
    from unic import api
    from unic.preflight.screen import render

    with _console().status("checking"):
        found = api.check(
            settings, name=Path(recipe).stem, processes=processes, price=price, out=out, trust_code=trusted
        )
    if as_json:
        _echo(json.dumps(found.to_json(), indent=1))
    else:
        _stdout().print(render(found))
    if not found.is_ready:
        raise SystemExit(InputError.exit_code)


@app.command("eval", cls=Once)
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
        typer.Option(help="For example 'knn(k=5),logistic(C=0.01)'; repeatable.", autocompletion=_completion.tasks),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PATH of a labelled set with train/ and test/, or PATH?test=0.2; repeatable."),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="A shipped suite or a YAML file [default: that of the run, else quick].")
    ] = None,
    seeds: Annotated[
        list[str] | None, typer.Option(help="Comma-separated, in place of the suite's; repeatable.")
    ] = None,
    teacher: Annotated[list[str] | None, typer.Option(help="Model (name or URI) that counts as a teacher.")] = None,
    student: Annotated[str | None, typer.Option(help="Model (name or URI) whose gain is measured.")] = None,
    teachers: Annotated[bool, typer.Option(help="Add the teachers of a run, its start and raw pixels.")] = True,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            help="Write .json, .csv, .md, .tex or .safetensors (predictions); repeatable "
            "[default: of one run alone, into its folder]."
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that measure at a time [default: one for each GPU, or 1].")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode images, for each of them.")] = 0,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the benchmark sets [default: $UNIC_DATA or data/].")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch missing sets where that is allowed.")] = False,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Leave out sets that are not there.")] = False,
    trust_code: TrustCode = None,
) -> None:
    """Measure any encoders on the same images and print one table. What was measured before is not measured again."""
    numbers = _seeds(seeds)
    from unic import api
    from unic.eval.named import by_name
    from unic.eval.results.schema import Results
    from unic.eval.results.table import render

    named = by_name(models)
    roles = {_find(name, named): "teacher" for name in teacher or []}
    if student:
        roles[_find(student, named)] = "student"
    console = _console()
    is_whole = not (tasks or data or suite or seeds) and teachers
    into, note = ([], "") if out else _into_run(named, is_whole=is_whole)
    found = api.evaluate(
        named,
        tasks=tasks,
        data=_sets(data) if data else None,
        suite=suite,
        seeds=numbers,
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
    _stdout().print(render(results))
    if note:
        _tell_notes([note])
    if into:
        run = into[0].parent
        _echo(f"written: {', '.join(map(str, into))}\nnext: unic report {shlex.quote(str(run))}", err=True)
    if results.failed():  # the table is whole but for these cells; a script must not take it for a success
        raise SystemExit(StoppedError.exit_code)


@app.command(cls=Once)
def report(
    runs: Annotated[
        list[Path], typer.Argument(help="A run folder, one of several trainings, or several runs to compare.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The page [default: RUN/report.html; of several: comparison.html].")
    ] = None,
) -> None:
    """Write RUN/report.html, one self-contained page; of several runs one page that compares them."""
    from unic import api

    _echo(api.report(runs[0], out) if len(runs) == 1 else api.compare(runs, out or Path("comparison.html")))


@app.command(cls=Once)
def export(
    run: Annotated[Path, typer.Argument(help="A run folder; of several trainings one of them, DIR/seed-0.")],
    to: Annotated[Path | None, typer.Option(help="The folder to write [default: RUN/export].")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="Comma-separated: timm, transformers, onnx, torch_export, safetensors; repeatable [default: timm].",
        ),
    ] = None,
    heads: Annotated[
        list[str] | None,
        typer.Option(
            help="Also export the student with its projector for these teachers; comma-separated, repeatable."
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Of ONNX, also a float16 graph.")] = False,
    dynamic_size: Annotated[bool, typer.Option("--dynamic-size", help="Of ONNX, any input size (CNNs).")] = False,
    check: Annotated[bool, typer.Option(help="Load each export in a process without unic and compare.")] = True,
    push: Annotated[str | None, typer.Option(help="Upload to ORG/NAME on the Hugging Face hub, private.")] = None,
    trust_code: TrustCode = None,
) -> None:
    """Write the student as a timm folder and in other formats, check each, and print the lines that use it."""
    from unic.exporting.formats import check_formats

    chosen = _split(formats) or ["timm"]
    check_formats(chosen)
    import json

    from unic import api
    from unic._usage import usage

    with _console().status("exporting"):
        folder = api.export(
            run, to, formats=chosen, heads=_split(heads), half=half, dynamic_size=dynamic_size, check=check,
            push=push, trust_code=trust_code or [],
        )  # fmt: skip
    if check:
        for name, deviation in json.loads((folder / "parity.json").read_text()).items():
            _echo(f"{name}: deviates by {deviation:.1e}")
    _echo(usage(folder))


@app.command(cls=Once)
def encode(
    model: Annotated[str, typer.Argument(help="An encoder URI or a run folder.")],
    data: Annotated[str, typer.Option(help="A folder, Parquet file or hub name.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    split: Annotated[str | None, typer.Option(help="Of a set with train and test, which one [default: train].")] = None,
    patches: Annotated[bool, typer.Option("--patches", help="Also write every patch token.")] = False,
    limit: Annotated[int | None, typer.Option(help="Only a fixed random subset of so many images.")] = None,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 64,
) -> None:
    """Write an encoder's features of a set of images, with their names."""
    from unic import api

    target = api.encode(
        model,
        data,
        out,
        split=split,
        patches=patches,
        limit=limit,
        precision=precision,
        batch_size=batch_size,
        console=_console(),
    )
    _echo(target)


@app.command(cls=Once)
def shard(
    data: Annotated[str, typer.Argument(metavar="PATH", help="A folder, Parquet file, list, shards or hub name.")],
    out: Annotated[Path, typer.Option(help="The folder to write; one that was begun is gone on with.")],
    split: Annotated[str | None, typer.Option(help="Of a set with train and test, which one [default: train].")] = None,
    size: Annotated[str, typer.Option(help="Of a shard at most.")] = "1GB",
    samples: Annotated[int | None, typer.Option(min=1, help="Images of a shard at most.")] = None,
    keep_order: Annotated[bool, typer.Option("--keep-order", help="Do not shuffle the images.")] = False,
) -> None:
    """Write images as WebDataset shards, bytes as they are, with an index, their names and a manifest."""
    from unic import api

    found = api.shard(data, out, split=split, size=size, samples=samples, keep_order=keep_order, console=_console())
    for name, reason in found["skipped"][:5]:
        _echo(f"skipped: {printable(name)}: {printable(reason)}", err=True)
    _echo(f"{out}: {found['images']} images in {len(found['shards'])} shards, {len(found['skipped'])} skipped")


@app.command(cls=Once)
def synthesise(
    teachers: Annotated[
        list[str],
        typer.Option(
            help="URIs or NAME=URI, separated by commas; repeatable. Each must be a torch model.",
            autocompletion=_completion.encoders,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; one that was begun is gone on with.")],
    images: Annotated[int, typer.Option(help="Images to make.")] = Settings.images,
    size: Annotated[int, typer.Option(help="Side of an image in pixels.")] = Settings.size,
    start: Annotated[str, typer.Option(help="Images to start from, as a path.")] = Settings.start,
    pool: Annotated[int, typer.Option(help="Images that are kept apart from one another.")] = Settings.pool,
    subset: Annotated[int, typer.Option(help="Images of a pool that a step compares.")] = Settings.subset,
    redraw: Annotated[int, typer.Option(help="Steps with one subset.")] = Settings.redraw,
    steps: Annotated[int, typer.Option(help="Steps for a whole pool; the paper takes 4000.")] = Settings.steps,
    lr: Annotated[float, typer.Option(help="Rate of Adam on pixels between 0 and 1.")] = Settings.lr,
    variation: Annotated[float, typer.Option(help="Weight of the total variation; more is smoother.")] = (
        Settings.variation
    ),
    seed: Annotated[int, typer.Option(help="Another seed makes other images.")] = Settings.seed,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
) -> None:
    """Make training images without any: optimise pixels until the teachers tell the images apart; write shards."""
    from unic import api

    uris = _uris(teachers)
    found = api.synthesise(
        uris, out, images=images, size=size, start=start, pool=pool, subset=subset, redraw=redraw, steps=steps, lr=lr,
        variation=variation, seed=seed, precision=precision, console=_console(),
    )  # fmt: skip
    for name, reason in found["skipped"][:5]:
        _echo(f"skipped: {printable(name)}: {printable(reason)}", err=True)
    _echo(f"{out}: {found['images']} images in {len(found['shards'])} shards, {len(found['skipped'])} skipped")
    _echo(f"next: data.train: [{{path: {shlex.quote(str(out))}}}] in a recipe trains on them")


@app.command("list", cls=Once)
def list_(
    what: Annotated[
        str, typer.Argument(help=f"One of {', '.join(LISTS)}.", autocompletion=lambda incomplete: list(LISTS))
    ],
    contains: Annotated[str, typer.Argument(metavar="[FILTER]", help="Only names with this in them.")] = "",
) -> None:
    """List what a recipe or a command line can name."""
    if what not in LISTS:
        raise InputError(f"list: unknown kind '{what}'{nearest(what, LISTS)}")
    from unic.listing import rows

    found = [(name, text) for name, text in rows(what) if contains.lower() in name.lower()]
    if not found:
        raise InputError(
            f"list {what}: no name has '{contains}' in it{nearest(contains, [name for name, _ in rows(what)])}"
        )
    width = max(len(name) for name, _ in found)
    for name, text in found:
        _echo(f"{name:{width}}  {text}".rstrip())


def main() -> None:
    """Entry point: an error is one line on stderr and the exit code that stands beside its class in `unic.errors`.

    SIGINT, SIGTERM and SIGHUP end a command that has nothing to save with 128 and their number.
    """
    logging.captureWarnings(True)  # libraries' warnings go to train.log, not into the live line
    try:
        with orderly_end():
            if app(standalone_mode=False) == INTERRUPTED:  # newer typers turn an interrupt into this
                raise KeyboardInterrupt
    except StoppedBySignal as end:
        _fail("stopped", int(str(end.code)))
    except UnicError as error:
        _fail(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _fail("stopped", INTERRUPTED)
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "format_message"):
            _fail(error.format_message(), InputError.exit_code)
        if os.environ.get("UNIC_DEBUG"):
            raise
        if isinstance(error, OSError) and error.strerror:  # the machine's: a disk, a file that is gone
            _fail(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror}", exit_code_of(error))
        if isinstance(error, MemoryError):
            _fail("out of memory", exit_code_of(error))
        _fail(f"{type(error).__name__}: {error} (UNIC_DEBUG=1 shows where)", exit_code_of(error))


def _show_run(folder: Path) -> None:
    """What a finished run leaves on the screen: the table, and where to look and what to type next."""
    from unic._usage import usage
    from unic.eval.results.schema import Results
    from unic.eval.results.table import render

    results = folder / "results.json"
    if results.is_file():
        _stdout().print(render(Results.read(results)))
    if (folder / "report.html").is_file():
        _echo(f"report: {folder / 'report.html'}")
    if (folder / "export").is_dir():
        _echo(f"the student, in plain timm:\n{usage(folder / 'export')}")
    if trainings := list(trainings_in(folder).values()):
        if not results.is_file():
            _echo(f"next: unic eval {shlex.quote(str(folder))} --data NAME=PATH   measures all trainings in one table")
        _echo(f"each training is a run of its own, for example: unic export {shlex.quote(str(trainings[0]))}")
        return
    run = shlex.quote(str(folder))
    measuring = {
        f"unic eval {run} --data NAME=PATH": "measures it on labelled images, beside its teachers",
        f"unic report {run}": "writes the page with the numbers",
    }
    graph = {f"unic export {run} --format onnx": "writes a graph for other programs"}
    _tell_next(graph if results.is_file() else {**measuring, **graph})


def _tell_notes(notes: list[str]) -> None:
    from unic.terminal import tell

    for note in notes:
        tell(_console(), note)


def _tell_next(commands: dict[str, str]) -> None:
    from unic.terminal import next_commands

    next_commands(_stdout(), commands)


def _begun(out: Path | None, *, resume: bool, has_seeds: bool) -> Path | None:
    """The recipe of the run that goes on, or of the first of several trainings."""
    if out is None:
        return None
    runs = list(trainings_in(out).values()) if has_seeds else [out] if resume else []
    return next((run / "recipe.yaml" for run in runs if (run / "recipe.yaml").is_file()), None)


def _recipe_source(
    recipe: str | None,
    overrides: list[str],
    teachers: list[str] | None,
    student: str | None,
    data: list[str] | None,
    begun: Path | None,
) -> tuple[Any, list[str]]:
    """A recipe's name and overrides, or the tree that the flags describe; the first override may stand in its place.

    Args:
        begun: the recipe of the run that goes on: what flags do not say is as it was at its start.
    """
    if not (teachers or student or data):
        if recipe is None:
            raise InputError("distill: expected a recipe, or --teachers, --student and --data")
        return recipe, overrides
    if recipe is not None and "=" not in recipe:
        raise InputError(f"distill: either the recipe '{recipe}' or --teachers, --student and --data, not both")
    from unic.compose import compose

    tree = compose(_uris(teachers), student or "", data or [])
    if begun:
        tree["base"] = str(begun)
    else:
        from unic.suited import suited

        changes = ([recipe] if recipe else []) + overrides
        tree, notes = suited(tree, changes)
        _tell_notes(notes)
    return tree, ([recipe] if recipe else []) + overrides


def _again(folder: Path) -> str:
    """The command that was typed, with what makes it go on."""
    words = sys.argv[1:]
    added = [] if any(word == "--out" or word.startswith("--out=") for word in words) else ["--out", str(folder)]
    added += [] if "--resume" in words else ["--resume"]
    launcher = "torchrun … -m unic" if int(os.environ.get("WORLD_SIZE", 1)) > 1 else "unic"
    return f"{launcher} {shlex.join([*words, *added])}"


def _typed_code(source: Any, overrides: list[str]) -> list[str]:
    """What of a recipe was typed: its overrides, and a tree that flags describe."""
    from unic.typed import code_in, code_in_overrides

    return [*code_in_overrides(overrides), *(code_in(source) if isinstance(source, dict) else [])]


def _uris(texts: list[str] | None) -> list[str]:
    """URIs separated by commas. A comma within a URI (`mean=0.485,0.456,0.406`) has no scheme behind it."""
    parts = [part for text in texts or [] for part in re.split(r",(?=\s*(?:[\w-]+=)?[a-z_]+:)", text)]
    return [part.strip(" ,") for part in parts if part.strip(" ,")]


def _split(texts: list[str] | None) -> list[str]:
    """Names of an option that takes several, with commas or repeated."""
    return [part.strip() for text in texts or [] for part in text.split(",") if part.strip()]


def _pair(text: str, what: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise InputError(f"{what} '{text}': expected NAME=PATH")
    return name, path


def _sets(entries: list[str]) -> dict[str, str]:
    """Paths of evaluation sets by name; a dictionary alone would keep the last of two sets of one name."""
    named: dict[str, str] = {}
    for name, path in (_pair(entry, "--data") for entry in entries):
        if name in named:
            raise InputError(f"--data '{name}={path}': the name '{name}' is given twice; give one set another name")
        named[name] = path
    return named


def _into_run(models: dict[str, Any], *, is_whole: bool) -> tuple[list[Path], str]:
    """Where the numbers of one run alone go, and why nowhere: into its folder, where its report looks for them.

    Args:
        is_whole: whether nothing narrows the evaluation; one that is narrowed replaces no results that are there.
    """
    place = Path(str(next(iter(models.values()))).removeprefix("run:"))
    if len(models) > 1 or not (trainings_in(place) or (place / "recipe.yaml").is_file()):
        return [], ""
    from unic.api import results_files
    from unic.outputs import check_writable

    results = place / "results.json"
    if results.exists() and not is_whole:
        return [], f"{results} stays as it is; --out {results} replaces it"
    try:
        check_writable(results, named="run")
    except (InputError, StoppedError) as error:
        return [], f"the numbers are not kept in the run: {error}"
    return [place / name for name in results_files(place)], ""


def _seeds(texts: list[str] | None) -> list[int] | None:
    if not texts:
        return None
    text = ",".join(texts)
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise InputError(f"--seeds '{text}': expected whole numbers separated by commas, for example 0,1,2")
    return [int(part) for part in parts]


def _find(name: str, models: dict[str, Any]) -> str:
    """The name of a model that is given by name or by URI."""
    for candidate, uri in models.items():
        if name in (candidate, uri):
            return candidate
    raise InputError(f"model '{name}' is not among those given{nearest(name, models)}")


def _console() -> Console:
    from unic.terminal import stderr_console

    return stderr_console()


def _stdout() -> Console:
    from unic.terminal import stdout_console

    return stdout_console()


def _echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    typer.echo(printable_lines(text), err=err, nl=nl)


def _fail(message: str, code: int) -> None:
    print(f"unic: {one_line(message)}", file=sys.stderr)
    raise SystemExit(code)
