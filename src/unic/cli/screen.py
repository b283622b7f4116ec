"""Output of the commands: lines, notes, and commands to type next."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from unic._text import printable_lines
from unic.errors import one_line

if TYPE_CHECKING:
    from rich.console import Console


def tell_notes(notes: list[str]) -> None:
    from unic.terminal import tell

    for note in notes:
        tell(stderr(), note)


def tell_next(commands: dict[str, str]) -> None:
    from unic.terminal import next_commands

    next_commands(stdout(), commands)


def stderr() -> Console:
    from unic.terminal import stderr_console

    return stderr_console()


def stdout() -> Console:
    from unic.terminal import stdout_console

    return stdout_console()


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    typer.echo(printable_lines(text), err=err, nl=nl)


def fail(message: str, code: int) -> None:
    print(f"unic: {one_line(message)}", file=sys.stderr)
    raise SystemExit(code)
