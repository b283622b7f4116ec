"""Escaping: one function for each output format, in which text from a file must stay text.

HTML is escaped by jinja2 (`unic.reporting.render`) and by `unic.reporting.draw.svg.tag`, YAML and JSON by their
libraries.
"""

from __future__ import annotations

import json
import re

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%#_{}$"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "–": "--", "↓": r"$\downarrow$", "±": r"$\pm$",
    "[": "{[}", "*": "{*}",  # at the start of a row they would be read as an argument of the \\ before it
}  # fmt: skip
# GitHub also makes links of bare addresses, and formulas of what stands between dollars.
_MARKDOWN = re.compile(r"[\\`*\[\]<>|&~$]|:(?=//)|(?<=www)\.|(?<!\w)_|_(?!\w)", re.IGNORECASE)


def printable(text: object) -> str:
    """One line for a terminal or a log. Unprintable characters are written as in a Python string (`\\x1b`, `\\n`)."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in str(text))


def printable_lines(text: object) -> str:
    """Each line of a text, made `printable`."""
    return "\n".join(map(printable, str(text).split("\n")))


def csv_cell(value: object) -> object:
    """A cell of a CSV file. An apostrophe comes before text that a spreadsheet would read as a formula."""
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(_FORMULA) and not _is_number(value) else printable(value)


def latex(text: str) -> str:
    """Text escaped for LaTeX: nothing in it is a command."""
    return "".join(_LATEX.get(sign, sign) for sign in printable(text))


def markdown(text: object) -> str:
    """Text escaped for Markdown, tables included: nothing in it is a mark, a tag, a link or an image."""
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", printable(text))


def markdown_code(text: object, *, in_table: bool = False) -> str:
    """Inline code in Markdown. In a table, `|` is escaped as well."""
    content = printable(text)
    ticks = _fence(content, 1)
    content = f" {content} " if content.startswith("`") or content.endswith("`") else content
    return f"{ticks}{content.replace('|', chr(92) + '|') if in_table else content}{ticks}"


def markdown_block(text: str, language: str) -> str:
    """A block of code in Markdown. The text may contain backticks."""
    ticks = _fence(text, 3)
    return f"{ticks}{language}\n{printable_lines(text)}\n{ticks}"


def python_string(text: str) -> str:
    """A string literal of Python."""
    return printable(json.dumps(text, ensure_ascii=False))


def _fence(text: str, least: int) -> str:
    """A row of backticks longer than any in the text, and at least `least` long."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
