"""Whether a folder is one of a run, and the one line where it is not."""

from __future__ import annotations

import difflib
from pathlib import Path

from unic.errors import InputError


def check_run_folder(run: Path, named: str = "run") -> None:
    """Refuses what is not the folder of a run.

    Args:
        run: the folder.
        named: begins the error line.

    Raises:
        InputError: it is missing, is a file, or holds no `recipe.yaml`.
    """
    if not run.exists():
        raise InputError(f"{named} {run}: no such folder{nearest_folder(run)}")
    if not run.is_dir():
        raise InputError(f"{named} {run}: it is a file; expected a run folder")
    if not (run / "recipe.yaml").is_file():
        raise InputError(f"{named} {run}: not a run folder (no recipe.yaml)")


def nearest_folder(missing: Path) -> str:
    """Ending of the line about a missing folder: what is spelled most like it beside it, if anything is."""
    if not missing.parent.is_dir():
        return ""
    names = [entry.name for entry in missing.parent.iterdir() if entry.is_dir()]
    close = difflib.get_close_matches(missing.name, names, n=1, cutoff=0.6)
    return f"; did you mean '{missing.parent / close[0]}'?" if close else ""
