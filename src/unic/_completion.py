"""Completion in the shell (`unic --install-completion`). It runs at each press of Tab, so nothing imports torch."""

from __future__ import annotations

import glob
from pathlib import Path
from pkgutil import iter_modules

_HERE = Path(__file__).parent


def recipes(incomplete: str) -> list[str]:
    """Shipped recipes by name, and YAML files."""
    from unic.recipe.reading import recipe_folder

    shipped = [path.stem for path in recipe_folder().glob("*.yaml")]
    files = [name for name in glob.glob(f"{glob.escape(incomplete)}*") if name.endswith((".yaml", ".yml"))]
    return sorted({*shipped, *files})


def keys(incomplete: str) -> list[str]:
    """`train.lr=` and all other keys of a recipe that an override can name."""
    from unic.recipe.keys import dotted
    from unic.recipe.schema import Recipe

    return [f"{key}=" for key in dotted(Recipe)]


def encoders(incomplete: str) -> list[str]:
    """`timm:` and all other schemes of encoder URIs."""
    return [f"{name}:" for name in _modules("encoders/schemes")]


def tasks(incomplete: str) -> list[str]:
    """Evaluation tasks. In a list with commas, the last one is completed."""
    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _modules("eval/tasks")]


def _modules(package: str) -> list[str]:
    names = (module.name for module in iter_modules([str(_HERE / package)]))
    return sorted(name for name in names if name != "base" and not name.startswith("_"))
