"""`unic list`"""

from __future__ import annotations

from typing import Annotated

import typer

from unic.cli.screen import echo
from unic.errors import InputError, nearest

LISTS = (
    "encoders", "losses", "projectors", "weightings", "standardizers", "tasks", "data", "generated", "suites",
    "recipes",
)  # fmt: skip


def list_names(
    what: Annotated[
        str, typer.Argument(help=f"One of {', '.join(LISTS)}.", autocompletion=lambda incomplete: list(LISTS))
    ],
    contains: Annotated[str, typer.Argument(metavar="[FILTER]", help="Text that the names must contain.")] = "",
) -> None:
    """List what a recipe or a command line can name."""
    if what not in LISTS:
        raise InputError(f"list: unknown kind '{what}'{nearest(what, LISTS)}")
    from unic.listing import rows

    found = [(name, text) for name, text in rows(what) if contains.lower() in name.lower()]
    if not found:
        raise InputError(
            f"list {what}: no name contains '{contains}'{nearest(contains, [name for name, _ in rows(what)])}"
        )
    width = max(len(name) for name, _ in found)
    for name, text in found:
        echo(f"{name:{width}}  {text}".rstrip())
