"""`unic.report` and `unic.compare`: pages about runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unic.api.sweep_table import sweep_report
from unic.arguments import argument
from unic.outputs import check_writable
from unic.reporting import write_comparison, write_report, write_trainings
from unic.runs.folder import RunFolder, check_run_folder, trainings_in
from unic.sweeps.folder import SweepFolder


def report(run: str | Path, to: str | Path | None = None) -> Path:
    """Writes `RUN/report.html` (or `to`), one self-contained page, and returns its path.

    For a folder of several trainings the page shows the table over all of them, and names the page of each. Code that
    the run names does not run: a teacher that needs it is left out of the pictures, with a note.

    Args:
        run: a run folder, a folder of several trainings, or the folder of a sweep.
        to: the file to write; default: `report.html` in that folder.

    Raises:
        InputError: not a run folder, or a file that cannot be written.
    """
    if SweepFolder(Path(run)).is_begun:
        return sweep_report(run, to)
    is_of_several = bool(trainings_in(Path(run)))
    folder = Path(run) if is_of_several else _run_folder(run)
    target = Path(to) if to else RunFolder(folder).report
    check_writable(target, named=argument("to", flag="--out") if to else "report")
    return write_trainings(folder, target) if is_of_several else write_report(folder, target)


def compare(runs: Sequence[str | Path], to: str | Path) -> Path:
    """Writes one self-contained page that compares several runs, and returns its path.

    Args:
        runs: two run folders or more.
        to: the file to write.

    Raises:
        InputError: fewer than two runs, a path that is not a run folder, or a file that cannot be written.
    """
    folders = [_run_folder(run) for run in runs]
    check_writable(Path(to), named=argument("to", flag="--out"))
    return write_comparison(folders, Path(to))


def _run_folder(run: str | Path) -> Path:
    folder = Path(run)
    check_run_folder(folder, "report")
    return folder
