"""Consoles that print plain text: names from files cannot bring in terminal commands or markup of rich."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from unic._text import printable, printable_lines

_PARTS = " · "
_TIED = "\xa0"  # stands for a space at which a line must not break; printed lines have none


class PlainConsole(Console):
    """A console whose text is text: nothing in it is markup, a code of an emoji or a control character."""

    def __init__(self, file: TextIO | None = None) -> None:
        super().__init__(file=file, markup=False, emoji=False, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)

    def status(self, status: RenderableType, **options: Any) -> Status:
        return super().status(Text(status) if isinstance(status, str) else status, **options)


def stderr_console() -> Console:
    return PlainConsole(sys.stderr)


def stdout_console() -> Console:
    return PlainConsole()


def describe(console: Console, lines: Sequence[str]) -> None:
    """Prints lines `what: text`; on a terminal as two columns, so that long text wraps within its own column."""
    if not console.is_terminal:
        for line in lines:
            tell(console, line)
        return
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        what, colon, text = printable(line).partition(": ")
        table.add_row(Text(what + colon.rstrip()), Text(text))
    console.print(table)


def tell(console: Console, line: object, style: str = "") -> None:
    """Prints one line, `folded` to the width of the console (for a file 80 columns, or `COLUMNS`)."""
    console.print(Text("\n".join(folded(printable(line), console.width)), style), soft_wrap=True)


def next_commands(console: Console, commands: Mapping[str, str]) -> None:
    """Prints commands to type next. What each does stands beside it where all fit, else below it."""
    head, margin = "next: ", max(map(len, commands)) + 3
    is_narrow = any(len(head) + margin + len(text) > console.width for text in commands.values())
    for index, (command, text) in enumerate(commands.items()):
        before = head if index == 0 else " " * len(head)
        below = f"\n{' ' * len(head)}  " if is_narrow else " " * (margin - len(command))
        console.print(Text(f"{before}{printable(command)}{below}{printable(text)}"), soft_wrap=True)


def folded(line: str, width: int) -> list[str]:
    """A line wrapped to a width, with rows after the first indented. Words, such as paths, are never broken.

    Parts between ` · ` stay together where they fit.
    """
    parts = line.split(_PARTS)
    if len(parts) > 1:
        line = f" ·{_TIED}".join(part.replace(" ", _TIED) if len(part) <= width - 4 else part for part in parts)
    rows = textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return [row.replace(_TIED, " ") for row in rows] or [""]
