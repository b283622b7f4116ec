"""Text that came from a file, written into another language so that it stays text: one function for each language.

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
    """One line for a terminal or a log: what cannot be printed is written as in a Python string (`\\x1b`, `\\n`)."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in str(text))


def printable_lines(text: object) -> str:
    """The same for text of several lines."""
    return "\n".join(map(printable, str(text).split("\n")))


def csv_cell(value: object) -> object:
    """Numbers as they are; a text that a spreadsheet would take for a formula with an apostrophe before it."""
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(_FORMULA) and not _is_number(value) else printable(value)


def latex(text: str) -> str:
    """Text of a LaTeX document, in which nothing is a command."""
    return "".join(_LATEX.get(sign, sign) for sign in printable(text))


def markdown(text: object) -> str:
    """Text of a Markdown document, inside tables too, in which nothing is a mark, a tag, a link or a picture."""
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", printable(text))


def markdown_code(text: object, *, in_table: bool = False) -> str:
    """A piece of code within a line of Markdown."""
    content = printable(text)
    ticks = _fence(content, 1)
    content = f" {content} " if content.startswith("`") or content.endswith("`") else content
    return f"{ticks}{content.replace('|', chr(92) + '|') if in_table else content}{ticks}"


def markdown_block(text: str, language: str) -> str:
    """Lines of code in Markdown, whatever is in them."""
    ticks = _fence(text, 3)
    return f"{ticks}{language}\n{printable_lines(text)}\n{ticks}"


def python_string(text: str) -> str:
    """A string in Python code."""
    return printable(json.dumps(text, ensure_ascii=False))


def _fence(text: str, least: int) -> str:
    """More backticks than stand side by side in the text."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
