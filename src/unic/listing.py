"""The rows of `unic list`: names, each with the first line of its file."""

from __future__ import annotations

from collections.abc import Iterator

from unic import lookup
from unic.recipe.reading import recipe_folder

PACKAGES = {
    "losses": "unic.losses", "projectors": "unic.projectors", "weightings": "unic.weightings",
    "standardizers": "unic.standardizers", "tasks": "unic.eval.tasks", "data": "unic.eval.datasets",
    "generated": "unic.data.generated",
}  # fmt: skip


def rows(what: str) -> Iterator[tuple[str, str]]:
    """Names and descriptions of `what`: encoders, suites, recipes, or a key of `PACKAGES`."""
    if what == "recipes":
        for path in sorted(recipe_folder().glob("*.yaml")):
            yield path.stem, path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
    elif what == "suites":
        from unic.eval.suite import SUITES

        yield from ((name, suite.describe()) for name, suite in SUITES.items())
    elif what == "encoders":
        yield from _encoders()
    else:
        for name in lookup.names(PACKAGES[what]):
            if name != "base":
                yield name, lookup.first_line(lookup.module(PACKAGES[what], name))


def _encoders() -> Iterator[tuple[str, str]]:
    """The URIs of schemes with a catalogue, and the other schemes with the first line of their files."""
    import timm

    for scheme in lookup.names("unic.encoders.schemes"):
        found = lookup.module("unic.encoders.schemes", scheme)
        catalogue = getattr(found, "CATALOGUE", {"…": lookup.first_line(found)})
        yield from ((f"{scheme}:{name}", text) for name, text in catalogue.items())
    yield from ((f"timm:{name}", "") for name in timm.list_pretrained())
