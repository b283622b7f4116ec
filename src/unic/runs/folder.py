"""The folder of a run: the paths of its files, and the error line for a folder that is not a run.

Trainings of several seeds lie side by side, each an ordinary run folder: `DIR/seed-0`, `DIR/seed-1`, …
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from unic.arguments import argument
from unic.errors import InputError

_OF_SEED = re.compile(r"seed-(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class RunFolder:
    """The paths of the files and folders of a run, which need not exist.

    Args:
        path: the run folder.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe, with all stages."""
        return self.path / "recipe.yaml"

    @property
    def environment(self) -> Path:
        """Versions of packages, device, threads, processes, and the time of the start (JSON)."""
        return self.path / "environment.json"

    @property
    def log(self) -> Path:
        return self.path / "train.log"

    @property
    def metrics(self) -> Path:
        """A line of JSON for each logged step."""
        return self.path / "metrics.jsonl"

    @property
    def damaged(self) -> Path:
        """Names of the images that could not be read (JSON)."""
        return self.path / "damaged.json"

    @property
    def non_finite(self) -> Path:
        """A folder of steps whose losses were not finite (`unic.training.diagnosis`)."""
        return self.path / "non_finite"

    @property
    def lock(self) -> Path:
        """Held while the run trains."""
        return self.path / ".lock"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def interpolated(self) -> Path:
        """A folder with the checkpoint of the student that is evaluated and exported, with `train.interpolate`."""
        return self.path / "interpolated"

    @property
    def export(self) -> Path:
        """The student as a timm folder, with graphs beside it."""
        return self.path / "export"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def predictions(self) -> Path:
        """The predicted classes of each test image."""
        return self.path / "predictions.safetensors"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def is_begun(self) -> bool:
        return self.recipe.is_file()


def of_seed(seed: int) -> str:
    """The name of the run folder with this seed, below the folder of several trainings."""
    return f"seed-{seed}"


def is_of_seed(name: str) -> bool:
    return _OF_SEED.fullmatch(name) is not None


def trainings_in(folder: Path) -> dict[int, Path]:
    """The run folders below a folder of several trainings, by seed in ascending order; empty for another folder."""
    if not folder.is_dir() or RunFolder(folder).is_begun:
        return {}
    found = {
        int(match[1]): run
        for run in folder.iterdir()
        if (match := _OF_SEED.fullmatch(run.name)) and RunFolder(run).is_begun
    }
    return dict(sorted(found.items()))


def check_free(folder: Path, resume: bool) -> None:
    """Refuses a folder for a new run that holds anything but a lock, unless it is to be resumed.

    Raises:
        InputError: the folder is not empty.
    """
    lock = RunFolder(folder).lock
    if not resume and folder.is_dir() and any(path.name != lock.name for path in folder.iterdir()):
        raise InputError(
            f"{argument('out')} {folder}: the folder is not empty; continue that run with {argument('resume', True)}, "
            "or name another folder"
        )


def check_run_folder(run: Path, named: str = "run") -> None:
    """Refuses a path that is not a run folder.

    Args:
        run: the path.
        named: begins the error line.

    Raises:
        InputError: the path is missing, is a file, holds several trainings, or has no `recipe.yaml`.
    """
    if not run.exists():
        raise InputError(f"{named} {run}: no such folder{nearest_folder(run)}")
    if not run.is_dir():
        raise InputError(f"{named} {run}: it is a file; expected a run folder")
    if trainings := trainings_in(run):
        names = ", ".join(str(path) for path in trainings.values())
        raise InputError(f"{named} {run}: the folder holds several trainings; name one of them: {names}")
    if not RunFolder(run).is_begun:
        raise InputError(f"{named} {run}: not a run folder (no recipe.yaml)")


def nearest_folder(missing: Path) -> str:
    """Ending of the line about a missing folder: names the folder beside it with the most similar name, if any."""
    if not missing.parent.is_dir():
        return ""
    names = [entry.name for entry in missing.parent.iterdir() if entry.is_dir()]
    close = difflib.get_close_matches(missing.name, names, n=1, cutoff=0.6)
    return f"; did you mean '{missing.parent / close[0]}'?" if close else ""
