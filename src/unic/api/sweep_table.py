"""Table and page of a sweep, from the small files of its finished trainings alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unic.arguments import argument
from unic.errors import InputError
from unic.files import write_text
from unic.outputs import check_writable
from unic.reporting import write_sweep
from unic.sweeps.folder import SweepFolder
from unic.sweeps.kept import kept_references, kept_variants
from unic.sweeps.measured import Measured, read_all
from unic.sweeps.summary import SuiteSummary, summarise
from unic.sweeps.table import as_markdown


def sweep_table(folder: str | Path) -> list[SuiteSummary]:
    """Reads the small files of a sweep and writes `table.md` and `report.html` from them.

    Args:
        folder: folder of the sweep; its run folders need not be there.

    Raises:
        InputError: it holds no finished training of a sweep, or cannot be written.
    """
    summaries = sweep_summaries(folder)
    write_sweep_table(folder, summaries)
    return summaries


def sweep_summaries(folder: str | Path) -> list[SuiteSummary]:
    """What the table of a sweep shows, for each suite; writes nothing.

    Args:
        folder: folder of the sweep; its run folders need not be there.

    Raises:
        InputError: it holds no finished training of a sweep.
    """
    place = SweepFolder(Path(folder))
    return summarise(_trainings(place), kept_variants(place))


def write_sweep_table(folder: str | Path, summaries: Sequence[SuiteSummary]) -> None:
    """Writes `table.md` and `report.html` of a sweep.

    Args:
        folder: folder of the sweep.
        summaries: as `sweep_summaries` gives them.

    Raises:
        InputError: the folder cannot be written.
    """
    place = SweepFolder(Path(folder))
    remedy = f"unic report {place.path} --out FILE writes the page elsewhere"
    check_writable(place.path, named="sweep", kind="folder", remedy=remedy)
    _write_page(place, summaries, place.report)
    write_text(place.table, as_markdown(summaries))


def sweep_report(folder: str | Path, to: str | Path | None = None) -> Path:
    """Writes the page of a sweep to its folder, or to a file, and returns the path; errors as of `sweep_table`."""
    place = SweepFolder(Path(folder))
    target = Path(to) if to else place.report
    check_writable(target, named=argument("to", flag="--out") if to else "report")
    _write_page(place, sweep_summaries(folder), target)
    return target


def _write_page(place: SweepFolder, summaries: Sequence[SuiteSummary], target: Path) -> None:
    write_sweep(summaries, _trainings(place), place.path.resolve().name, target, kept_references(place))


def _trainings(place: SweepFolder) -> list[Measured]:
    trainings = read_all(place.results)
    if not trainings:
        raise InputError(f"sweep {place.path}: no finished training in {place.results}")
    return trainings
