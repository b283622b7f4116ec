"""Whether a folder is one of a run, or of several trainings of one recipe, and the one line where it is not.

Trainings of several seeds lie side by side, each an ordinary run folder: `DIR/seed-0`, `DIR/seed-1`, …
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from unic.errors import InputError

_OF_SEED = re.compile(r"seed-(0|[1-9][0-9]*)")


def of_seed(seed: int) -> str:
    """What the run folder of one of several trainings is called."""
    return f"seed-{seed}"


def is_of_seed(name: str) -> bool:
    return _OF_SEED.fullmatch(name) is not None


def trainings_in(folder: Path) -> dict[int, Path]:
    """The run folders of several trainings by seed, smallest first; empty where `folder` is none of trainings."""
    if not folder.is_dir() or (folder / "recipe.yaml").is_file():
        return {}
    found = {
        int(match[1]): run
        for run in folder.iterdir()
        if (match := _OF_SEED.fullmatch(run.name)) and (run / "recipe.yaml").is_file()
    }
    return dict(sorted(found.items()))


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
    if trainings := trainings_in(run):
        names = ", ".join(str(path) for path in trainings.values())
        raise InputError(f"{named} {run}: the folder holds several trainings; name one of them: {names}")
    if not (run / "recipe.yaml").is_file():
        raise InputError(f"{named} {run}: not a run folder (no recipe.yaml)")


def nearest_folder(missing: Path) -> str:
    """Ending of the line about a missing folder: what is spelled most like it beside it, if anything is."""
    if not missing.parent.is_dir():
        return ""
    names = [entry.name for entry in missing.parent.iterdir() if entry.is_dir()]
    close = difflib.get_close_matches(missing.name, names, n=1, cutoff=0.6)
    return f"; did you mean '{missing.parent / close[0]}'?" if close else ""
