"""What the site has beside docs/: the README as its home page, other files of the repository, the help of commands.

MkDocs calls the functions `on_…`. Links are written for the repository, so that they work there as well; here they
become links between pages.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
HOME = {"README.md": "index.md"}  # by path in the repository, where its place on the site is another one
OUTSIDE = [
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "samples/README.md",
    "benchmarks/results/xeon-2-cores.md", "benchmarks/results/epyc-2-cores.md",
    "examples/two_teachers.py", "examples/two_teachers.ipynb", "examples/suite.yaml",
]  # fmt: skip
LOADED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*(?:src|href)=\"?https?://[^\s>]*")
log = logging.getLogger("mkdocs.hooks.site")
LINK = re.compile(r"(\]\(|src=\"|href=\")(?![a-z]+:|#)([^)\"#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files from outside of docs/."""
    for path in OUTSIDE:
        files.append(File.generated(config, HOME.get(path, path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between files into links between pages, and the mark `<!-- help -->` into the help."""
    there = page.file.src_uri
    here = next((path for path in OUTSIDE if HOME.get(path, path) == there), f"docs/{there}")

    def to_page(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[2]))
        target = HOME.get(target, target.removeprefix("docs/"))
        return link[1] + posixpath.relpath(target, posixpath.dirname(there) or ".")

    text = LINK.sub(to_page, markdown)
    return text.replace("<!-- help -->", command_line()) if "<!-- help -->" in text else text


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> None:
    """Warns of what a page would fetch from elsewhere: the site is read offline. `--strict` makes it an error."""
    for found in LOADED.findall(output):
        log.warning(f"{page.file.src_uri}: the page loads {found}")


def command_line() -> str:
    """The help of every command, from the commands themselves."""
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from unic.cli import app

    command = get_command(app)
    context = command.make_context("unic", [], resilient_parsing=True)
    text = get_docs_for_click(obj=command, ctx=context, name="unic", indent=1)
    return text[text.index("### ") :]  # what stands before is the list of commands, which the page has
