"""Renders templates and writes pages, each a self-contained file that is written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from unic.files import write_bytes

_FOLDER = Path(__file__).parent / "parts"


def render(template: str, content: Mapping[str, Any]) -> str:
    """The page as text, with all content escaped."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(content)


def write_page(text: str, target: Path) -> Path:
    """Writes the page, makes its folder, and returns the path."""
    # File names that are not UTF-8 are shown as in a Python string.
    return write_bytes(target, text.encode("utf-8", errors="backslashreplace"))
