"""`unic.report` and `unic.compare`: pages about runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unic.arguments import argument
from unic.errors import InputError
from unic.files import write_text
from unic.outputs import check_writable
from unic.reporting import write_comparison, write_report, write_sweep, write_trainings
from unic.runs.folder import RunFolder, check_run_folder, trainings_in
from unic.sweeps.folder import SweepFolder
from unic.sweeps.kept import kept_variants
from unic.sweeps.measured import read_all
from unic.sweeps.summary import SuiteSummary, summarise
from unic.sweeps.table import as_markdown


def report(run: str | Path, to: str | Path | None = None) -> Path:
    """Writes `RUN/report.html` (or `to`), one self-contained page, and returns its path.

    Of a folder of several trainings it shows the table over all of them, and names the page of each. Code that the run
    names is not run: a teacher that is such code is missing from the pictures, with a note.

    Args:
        run: a run folder, a folder of several trainings, or the folder of a sweep.
        to: the file to write; default: `report.html` in that folder.

    Raises:
        InputError: no run folder, or a file that cannot be written.
    """
    is_of_several, sweep = bool(trainings_in(Path(run))), SweepFolder(Path(run))
    folder = Path(run) if is_of_several or sweep.is_begun else run_folder(run)
    target = Path(to) if to else RunFolder(folder).report
    check_writable(target, named=argument("to", flag="--out") if to else "report")
    if sweep.is_begun:
        _write_sweep(sweep, target)
        return target
    return write_trainings(folder, target) if is_of_several else write_report(folder, target)


def compare(runs: Sequence[str | Path], to: str | Path) -> Path:
    """Writes one self-contained page that compares several runs, and returns its path.

    Args:
        runs: two run folders or more.
        to: the file to write.

    Raises:
        InputError: fewer than two runs, no run folder, or a file that cannot be written.
    """
    folders = [run_folder(run) for run in runs]
    check_writable(Path(to), named=argument("to", flag="--out"))
    return write_comparison(folders, Path(to))


def sweep_table(folder: str | Path) -> list[SuiteSummary]:
    """Reads the small files of a sweep and writes `table.md` and `report.html` from them; nothing else need be there.

    Args:
        folder: of the sweep.

    Raises:
        InputError: it holds no finished training of a sweep.
    """
    place = SweepFolder(Path(folder))
    summaries = _write_sweep(place, place.report)
    write_text(place.table, as_markdown(summaries))
    return summaries


def _write_sweep(place: SweepFolder, target: Path) -> list[SuiteSummary]:
    trainings = read_all(place.results)
    if not trainings:
        raise InputError(f"sweep {place.path}: no finished training in {place.results}")
    summaries = summarise(trainings, kept_variants(place))
    write_sweep(summaries, trainings, place.path.resolve().name, target)
    return summaries


def run_folder(run: str | Path) -> Path:
    folder = Path(run)
    check_run_folder(folder, "report")
    return folder
