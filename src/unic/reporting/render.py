"""Renders templates and writes pages, each a self-contained file that is written whole or not at all.

All that a template prints goes through `_printed`, which hides the values of environment variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from unic.files import write_bytes
from unic.recipe.references import WithReferences

_FOLDER = Path(__file__).parent / "parts"
_TEXT = re.compile(r'(?<=>)[^<]+|(?<=aria-label=")[^"]+')  # of elements, in which all `<`, `>` and `"` are escaped


def render(template: str, content: Mapping[str, Any], hidden: WithReferences) -> str:
    """The page as text, with all content escaped.

    Args:
        template: name of a file in `parts`.
        content: what the template shows.
        hidden: values of environment variables, for which the page shows how the recipe names them.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=partial(_printed, hidden),
    )  # fmt: skip
    return environment.get_template(template).render(content)


def _printed(hidden: WithReferences, value: Any) -> Any:
    """A value as the page shows it. Of elements, such as a drawing, only the texts are changed."""
    if isinstance(value, Markup):
        return Markup(_TEXT.sub(lambda text: escape(hidden.hide(Markup(text[0]).unescape())), value))
    return value if isinstance(value, int | float) else hidden.hide(str(value))


def write_page(text: str, target: Path) -> Path:
    """Writes the page, makes its folder, and returns the path."""
    # File names that are not UTF-8 are shown as in a Python string.
    return write_bytes(target, text.encode("utf-8", errors="backslashreplace"))
