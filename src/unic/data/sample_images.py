"""Search for the sample images, `samples/`: a checkout of unic has them, an installed package does not."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

_NAME = "samples"
_CHECKOUT = Path(__file__).parents[3] / _NAME
_VARYING = re.compile(r"\{[^{}]*\}")  # `{000..012}`, and `{split}`


def sample_folders() -> list[Path]:
    """The folders to search for a sample, in order: `$UNIC_SAMPLES` alone if it is set."""
    named = os.environ.get("UNIC_SAMPLES")
    return [Path(named).expanduser()] if named else [Path(_NAME), _CHECKOUT]


def sample_places(path: str) -> list[Path]:
    """The places where a recipe's `samples/…` may be, in order; empty for any other path."""
    head, _, rest = path.partition("/")
    return [folder.absolute() / rest for folder in sample_folders()] if head == _NAME and rest else []


def is_sample(path: str) -> bool:
    """Whether a path is spelled `samples/…`."""
    return path.partition("/")[0] == _NAME


def placed(path: str) -> str:
    """`samples/…` that is not in the working folder, in the first of the other places that has it.

    Args:
        path: path of images, without options. Another path, and a sample that no place has, are returned as they are.
    """
    if not is_sample(path) or exists(path):
        return path
    return next((str(place) for place in sample_places(path) if exists(str(place))), path)


def exists(path: str) -> bool:
    """Whether a path, or a pattern, leads to a file or folder."""
    place = os.path.expanduser(path)
    # Not recursive: `**` in a recipe of somebody else's must not walk the whole disk.
    return os.path.exists(place) or any(glob.iglob(_VARYING.sub("*", place)))


def hint(path: str) -> str:
    """Ending of the message about a missing `samples/…`; empty for any other path."""
    return "; set UNIC_SAMPLES to the samples/ of a checkout of unic" if is_sample(path) else ""
