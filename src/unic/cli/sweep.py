"""`unic sweep`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unic import _completion
from unic.cli.screen import echo, stderr, stdout
from unic.cli.words import TrustCode, axis_in, seeds_in
from unic.errors import InputError, UnfinishedError
from unic.signals import stop_signals


def sweep(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe, the YAML file of a sweep, or the folder of a sweep to continue.",
            autocompletion=_completion.recipes,
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Changes to the recipe for all variants.", autocompletion=_completion.keys
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=[VALUE,...]",
            help="Values of a key, one variant each, for example 'projector.blocks=[all,last]'; repeatable. A value "
            "that the recipe already has is the base.",
        ),
    ] = None,
    drop_teachers: Annotated[
        str | None, typer.Option(metavar="each", help="Add one variant without each teacher; the value is 'each'.")
    ] = None,
    design: Annotated[
        str | None,
        typer.Option(
            metavar="DESIGN",
            help="How values are combined: one_at_a_time (a variant changes one key) or factorial (all combinations) "
            "[default: one_at_a_time].",
        ),
    ] = None,
    seeds: Annotated[
        list[str] | None,
        typer.Option(help="Seeds separated by commas: train every variant with each; repeatable [default: 0]."),
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(help="Shipped suite or YAML file that measures the students; repeatable [default: the recipe's]."),
    ] = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="Name of a variant to train, in place of all; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep [default: runs/sweeps/RECIPE].")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Number of trainings at a time; they share the cores.")] = 1,
    stop_hopeless: Annotated[
        bool,
        typer.Option(
            "--stop-hopeless", help="Stop a variant after two seeds or more if its whole interval lies below the base."
        ),
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Train nothing: print the table of what is finished, and write the page.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build every variant, try one batch of each, write nothing.")
    ] = False,
    trust_code: TrustCode = None,
) -> None:
    """Train variants of a recipe with the same seeds, and print how far each is from the recipe itself.

    The same command continues what was interrupted, and adds further seeds and variants.
    """
    from unic.sweeps.asked import read_asked, with_changes
    from unic.sweeps.folder import SweepFolder

    place = SweepFolder(Path(recipe))
    folder = out or (place.path if place.is_begun or (table and place.results.is_dir()) else None)
    folder = folder or Path("runs/sweeps") / Path(recipe).stem
    if table:
        _show(folder)
        return
    typed = {"overrides": overrides or [], "vary": _axes(vary or [])}
    asked = with_changes(
        read_asked(recipe), **typed, drop_teachers=drop_teachers, design=design, seeds=seeds_in(seeds), suites=suite
    )
    from unic import api

    trusted = [*(trust_code or []), *api.code_in_asked(with_changes(read_asked({"recipe": {}}), **typed))]
    names, tree = variant or [], asked.model_dump()  # not split at commas, which a name may hold
    if dry_run:
        from unic.terminal import describe

        describe(stdout(), api.sweep_plan(tree, only_variants=names, trust_code=trusted))
        return
    try:
        with stop_signals() as stops, stops.at_once():
            api.sweep(
                tree, out=folder, only_variants=names, jobs=jobs, stop_hopeless=stop_hopeless, trust_code=trusted,
                console=stderr(),
            )  # fmt: skip
    except UnfinishedError:
        if any(SweepFolder(folder).results.glob("*.json")):
            _show(folder)  # what there is; the line that says what is missing comes last
        raise
    _show(folder)


def _axes(texts: list[str]) -> dict[str, list[Any]]:
    """Values by key. A dictionary alone would keep the last of two lists for one key."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        key, values = axis_in(text)
        if key in found:
            raise InputError(f"--vary '{text}': '{key}' is varied twice; name all its values at once")
        found[key] = values
    return found


def _show(folder: Path) -> None:
    """Prints the table of what is finished, and then writes the page, which a read-only folder does not take."""
    from unic import api
    from unic.sweeps.folder import SweepFolder
    from unic.sweeps.table import render

    summaries = api.sweep_summaries(folder)
    stdout().print(render(summaries))
    api.write_sweep_table(folder, summaries)
    echo(f"report: {SweepFolder(folder).report}")
