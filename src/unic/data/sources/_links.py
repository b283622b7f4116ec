"""Symbolic links below a data folder: those that stay in the folder are followed; with UNIC_FOLLOW_LINKS=1, all.

Reports show images, and data from strangers must not put other pictures of this machine into a report. Nothing is ever
written through a link.
"""

from __future__ import annotations

import os
from pathlib import Path

HINT = "UNIC_FOLLOW_LINKS=1 follows links that lead out of the folder"


def are_followed() -> bool:
    return os.environ.get("UNIC_FOLLOW_LINKS", "") not in ("", "0")


def stays(place: Path, inside: Path) -> bool:
    """Whether `place` may be read as a part of the resolved folder `inside`.

    A broken or circular link inside the folder counts as staying: reading it reports what is wrong.
    """
    return are_followed() or Path(os.path.realpath(place)).is_relative_to(inside)


def is_cycle(folder: Path, root: Path) -> bool:
    """Whether a folder below `root` is a link to one of its own parents."""
    target = os.path.realpath(folder)
    way = [parent for parent in folder.parents if parent == root or root in parent.parents]
    return any(os.path.realpath(parent) == target for parent in way)
