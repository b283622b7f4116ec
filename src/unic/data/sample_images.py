"""Search for the sample images, `samples/`: a checkout of unic has them, an installed package does not."""

from __future__ import annotations

import os
from pathlib import Path

_NAME = "samples"
_CHECKOUT = Path(__file__).parents[3] / _NAME


def sample_folders() -> list[Path]:
    """The folders to search for a sample, in order: `$UNIC_SAMPLES` alone if it is set."""
    named = os.environ.get("UNIC_SAMPLES")
    return [Path(named).expanduser()] if named else [Path(_NAME), _CHECKOUT]


def sample_places(path: str) -> list[Path]:
    """The places where a recipe's `samples/…` may be, in order; empty for any other path."""
    head, _, rest = path.partition("/")
    return [folder.absolute() / rest for folder in sample_folders()] if head == _NAME and rest else []


def hint(path: str) -> str:
    """Ending of the message about a missing `samples/…`; empty for any other path."""
    return "; set UNIC_SAMPLES to the samples/ of a checkout of unic" if path.partition("/")[0] == _NAME else ""
