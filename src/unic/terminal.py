"""What a terminal shows. Names come from files: they hold no commands of the terminal and no markup of rich here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from unic._text import printable, printable_lines


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
    """Prints lines `what: text`: on a terminal as two columns, so that what is too long goes on below its own text."""
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
    """Prints one line, as it is, on any console."""
    console.print(Text(printable(line), style), soft_wrap=True)
