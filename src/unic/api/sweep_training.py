"""One training of a sweep: trained, exported, measured, and its small file written."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from unic.api.distilling import online_knn
from unic.api.evaluating import results_files, results_of_run
from unic.api.exporting import export
from unic.errors import InputError, StoppedError
from unic.recipe.files import naming
from unic.recipe.schema import Recipe
from unic.runs.folder import RunFolder
from unic.runs.state import has_ended, newest_state
from unic.sweeps.measured import Measured, gains, logged, scored, write_measured
from unic.sweeps.plan import Plan, Training
from unic.sweeps.sameness import images_digest, recipe_digest, suite_digest
from unic.training import lock
from unic.training.places import folder_of, found_from
from unic.training.train import fit


class Work:
    """Trains and measures one variant with one seed, in this process or in another one.

    Args:
        plan: plan of the sweep.
        console: where progress is shown; None: others run meanwhile, so this one is silent and evaluates in one
            process.
    """

    def __init__(self, plan: Plan, console: Console | None) -> None:
        self._suites, self._base, self._console = plan.suites, plan.base.name, console
        self._digests = {name: suite_digest(suite) for name, suite in plan.suites.items()}
        self._sets = plan.set_digests

    def __call__(self, training: Training) -> None:
        if training.result.is_file():
            return  # another command has measured it meanwhile
        console = self._console or Console(quiet=True)
        _take_over(training)
        state = newest_state(training.run)
        recipe = found_from(training.recipe, folder_of(state))
        started = time.monotonic()
        with naming(recipe.name):
            fit(recipe, training.run, resume=True, callback=online_knn(recipe), console=console)
        train_s = time.monotonic() - started
        started = time.monotonic()
        export(training.run)
        evaluated = {name: self._evaluated(training.run, name, recipe, console) for name in self._suites}
        write_measured(
            training.result,
            Measured(
                variant=training.variant.name,
                overrides=list(training.variant.overrides),
                of=training.variant.of,
                is_base=training.variant.name == self._base,
                seed=training.seed,
                suites={name: each[0] for name, each in evaluated.items()},
                recipe_digest=recipe_digest(recipe),
                suite_digests=self._digests,
                set_digests=self._sets,
                images_digest=images_digest(recipe),
                mean_gains={name: each[1] for name, each in evaluated.items()},
                logged=logged(training.run),
                train_s=None if state else round(train_s, 1),
                eval_s=round(time.monotonic() - started, 1),
                date=time.strftime("%Y-%m-%d"),
            ),
        )

    def _evaluated(self, run: Path, name: str, recipe: Recipe, console: Console) -> tuple[Any, Any]:
        """Scores and mean gains. Those by the first suite are kept in the run folder, as of any run."""
        if suite_digest(self._suites[name]) != self._digests[name]:
            raise InputError(f"the suite '{name}' has changed since the command began; repeat it")
        with tempfile.TemporaryDirectory(prefix="unic-sweep-") as scratch:
            others = results_files(Path(scratch))
            files = results_files(run) if name == next(iter(self._suites)) else others
            jobs = 1 if self._console is None else None
            results = results_of_run(run, recipe, self._suites[name], files, jobs=jobs, console=console)
            if failed := results.failed():
                raise StoppedError(f"{len(failed)} cells of {name} failed, the first is {failed[0]}")
            return scored(results, files[1]), gains(results)


def _take_over(training: Training) -> None:
    """Copies the finished run that this one goes on with. Without it, the training is made from the start: its end is
    the same.
    """
    source, run = training.resumes, training.run
    if source is None or run.exists() or not has_ended(source, len(training.recipe.stages)):
        return
    lock.check(source)
    partial = run.with_name(f".{run.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    of = RunFolder(source)
    left_out = [path.name for path in (of.export, of.results, of.predictions, of.report, of.lock)]
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns(*left_out))
    partial.rename(run)
