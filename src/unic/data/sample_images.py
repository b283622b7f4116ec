"""Where the images of `samples/` are: they come with a checkout and not with an installed package."""

from __future__ import annotations

import os
from pathlib import Path

_NAME = "samples"
_CHECKOUT = Path(__file__).parents[3] / _NAME


def sample_folders() -> list[Path]:
    """The places in which a sample is looked for, first to last: `$UNIC_SAMPLES` alone where it is set."""
    named = os.environ.get("UNIC_SAMPLES")
    return [Path(named).expanduser()] if named else [Path(_NAME), _CHECKOUT]


def sample_places(path: str) -> list[Path]:
    """Where `samples/…` of a recipe may be, first to last; empty for another path."""
    head, _, rest = path.partition("/")
    return [folder.absolute() / rest for folder in sample_folders()] if head == _NAME and rest else []


def hint(path: str) -> str:
    """Ending of the line about `samples/…` that is in no place; empty for another path."""
    return "; UNIC_SAMPLES may name the samples/ of a checkout of unic" if path.partition("/")[0] == _NAME else ""
