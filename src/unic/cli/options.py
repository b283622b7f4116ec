"""Options of `unic` itself."""

from __future__ import annotations

from typing import Annotated

import typer

from unic import __version__
from unic.arguments import as_flags
from unic.cli.screen import echo


def _print_version(is_asked: bool) -> None:
    if is_asked:
        echo(__version__)
        raise typer.Exit


def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.with_resource(as_flags())
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
