"""`unic init` and `unic schema`"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from unic import _completion
from unic.cli.screen import echo, stdout, tell_next, tell_notes
from unic.cli.words import uris_in
from unic.errors import InputError, nearest


def init(
    teachers: Annotated[
        list[str] | None,
        typer.Option(
            help="Teachers as URIs or NAME=URI, separated by commas; repeatable.", autocompletion=_completion.encoders
        ),
    ] = None,
    student: Annotated[str | None, typer.Option(help="Student as a URI.", autocompletion=_completion.encoders)] = None,
    data: Annotated[list[str] | None, typer.Option(help="Images to train on; repeatable.")] = None,
    epochs: Annotated[float | None, typer.Option(min=0, help="Number of passes over the images.")] = None,
    arguments: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Print the recipe that a training of the paper's authors says: official:NAME?checkpoint=PATH, or a "
            "JSON file of its arguments.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: recipe.yaml, or with --from the screen.")
    ] = None,
) -> None:
    """Write a commented recipe. Asks for what the flags leave out."""
    if arguments is not None:
        if teachers or student or data or epochs is not None:
            raise InputError("--from: it says the whole recipe; leave out --teachers, --student, --data and --epochs")
        _init_from(arguments, out)
        return
    from unic.compose import check_new, compose, write_recipe
    from unic.suited import suited

    out = out or Path("recipe.yaml")
    check_new(out)
    if sys.stdin.isatty():
        asked = "teachers (URIs with commas, for example timm:vit_base_patch16_224.dino)"
        teachers = teachers or [typer.prompt(asked)]
        student = student or typer.prompt("student", default="timm:vit_small_patch16_224?pretrained=false")
        data = data or [typer.prompt("training images (folder, Parquet, shards or hub name)")]
    tree, notes = suited(compose(uris_in(teachers), student or "", data or [], epochs=epochs))
    write_recipe(tree, out)
    tell_notes(notes)
    name = shlex.quote(str(out))
    echo(out)
    tell_next(
        {
            f"unic check {name}": "shows what the run needs and what would fail later",
            f"unic distill {name}": "trains, exports, evaluates and writes a report",
        }
    )
    if "eval" not in tree:
        from unic.terminal import tell

        text = "To measure the student at the end, name a suite in eval.suite, or images with a labelled test part."
        tell(stdout(), text)


def _init_from(source: str, out: Path | None) -> None:
    from unic.compose import check_new
    from unic.files import write_text
    from unic.reference_recipe import reference_recipe

    if out is not None:
        check_new(out)
    text = reference_recipe(source)
    if out is None:
        echo(text, nl=False)
        return
    write_text(out, text)
    echo(out)


def schema(
    what: Annotated[str, typer.Argument(metavar="[recipe|results]", help="The file to describe.")] = "recipe",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the recipe's keys as a page to read.")] = False,
) -> None:
    """Print the JSON schema of a recipe, for editors that complete and check YAML, or of results.json."""
    if what not in ("recipe", "results"):
        raise InputError(f"schema: unknown file '{what}'{nearest(what, ('recipe', 'results'))}")
    if markdown and what == "results":
        raise InputError("schema results: only the recipe has a --markdown page")
    from unic.schema import as_json, as_markdown, results_as_json

    echo(as_markdown() if markdown else as_json() if what == "recipe" else results_as_json(), nl=not markdown)
