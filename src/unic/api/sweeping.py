"""`unic.sweep`: variants of a recipe with the same seeds, one table and one page."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from unic.api.distilling import online_knn
from unic.api.recipes import AnyRecipe, override_lines
from unic.api.sweep_table import sweep_table
from unic.api.sweep_training import Work
from unic.arguments import argument
from unic.errors import InputError, PreemptedError, UnfinishedError, UnicError, in_one_line
from unic.outputs import check_writable
from unic.runs.state import newest_state
from unic.signals import stop_signals
from unic.sweeps.asked import Asked, Design, Resumed, read_asked, with_changes
from unic.sweeps.claim import claimed
from unic.sweeps.folder import SweepFolder
from unic.sweeps.jobs import run_each
from unic.sweeps.kept import check_kept, check_kind, keep
from unic.sweeps.measured import read_all
from unic.sweeps.plan import Plan, Training, make_plan, only, try_out
from unic.sweeps.summary import hopeless
from unic.terminal import stderr_console, tell
from unic.trust import trusting
from unic.typed import code_in_overrides

log = logging.getLogger("unic")


def sweep(
    recipe: AnyRecipe,
    *,
    out: str | Path,
    vary: Mapping[str, Sequence[Any]] | None = None,
    variants: Mapping[str, Any] | None = None,
    drop_teachers: Literal["each"] | None = None,
    design: Design | None = None,
    seeds: Sequence[int] | None = None,
    suites: Sequence[str] | None = None,
    only_variants: Sequence[str] = (),
    jobs: int = 1,
    stop_hopeless: bool = False,
    trust_code: Sequence[str] = (),
    console: Console | None = None,
    overrides: Mapping[str, object] | None = None,
    **keys: Any,
) -> Path:
    """Trains and measures variants of a recipe, and compares each with the recipe itself, in pairs of one seed.

    The teachers run once: their outputs and their scores are kept by content. Repeated, a training that has been
    measured is left as it is and one that was interrupted goes on; further seeds and variants are added.

    Args:
        recipe: a recipe, see `AnyRecipe`; or the file of a sweep, which has keys for what follows.
        out: the folder; one of another sweep is refused.
        vary: values by key of the recipe, `{"projector.blocks": ["all", "last"]}`.
        variants: further variants by name: lists of `"key=value"`, or `{"of": NAME, "change": ["key=value"]}` for the
            finished training of another one, resumed with changes that train nothing anew.
        drop_teachers: "each": also one variant without each teacher.
        design: "one_at_a_time" (default): a variant changes one key; "factorial": all combinations.
        seeds: seeds of the trainings, the same for all variants; default: the seeds of the sweep file, else 0.
        suites: suites that measure the students; default: the suite of the recipe.
        only_variants: train these alone.
        jobs: trainings at a time, each with its share of the cores.
        stop_hopeless: train no further seed of a variant that is below the base, after two seeds or more, by the whole
            interval of the mean over seen tasks.
        trust_code: modules and URIs (without options) whose code may run though the recipe names it.
        console: where progress is shown (default: stderr).
        overrides: changes to the recipe for all variants, by dotted key. Code that they name is trusted.
        keys: further changes, as keyword arguments: `train__lr=1e-4`, or `**{"train.lr": 1e-4}`.

    Returns:
        The folder: `table.md`, `report.html`, `results/VARIANT-SEED.json`, and a run folder `VARIANT/seed-N` each.

    Raises:
        InputError: the recipe, a variant, the folder or the seeds cannot be used.
        UntrustedError: the recipe names code that is not trusted.
        PreemptedError: a signal has asked to stop; the same call goes on.
        UnfinishedError: some trainings failed; the others are finished.
    """
    if jobs < 1:
        raise InputError(f"{argument('jobs', jobs)}: expected 1 or more")
    console = console or stderr_console()
    lines, folder = override_lines(overrides, keys), SweepFolder(Path(out))
    varied = {key: list(values) for key, values in (vary or {}).items()}
    asked = with_changes(
        read_asked(recipe), overrides=lines, vary=varied, variants=dict(variants or {}), drop_teachers=drop_teachers,
        design=design, seeds=list(seeds or ()), suites=list(suites or ()),
    )  # fmt: skip
    called = code_in_asked(Asked(recipe={}, overrides=lines, vary=varied, variants=dict(variants or {})))
    with stop_signals() as stops, trusting(trust_code, called):
        try:
            with stops.at_once():
                plan = only(make_plan(asked), only_variants)
                check_writable(folder.path, named=argument("out"), kind="folder")
                return _Sweep(plan, folder, jobs, console).run(stop_hopeless=stop_hopeless)
        except PreemptedError:
            done = len(list(folder.results.glob("*.json")))
            raise PreemptedError(
                f"sweep {folder.path}: stopped by a signal; {done} trainings are finished; the same command goes on"
            ) from None


def sweep_plan(recipe: AnyRecipe, *, only_variants: Sequence[str] = (), trust_code: Sequence[str] = ()) -> list[str]:
    """Loads and tries every variant of a sweep, and returns a line for each; writes nothing.

    Args:
        recipe: as of `sweep`.
        only_variants: try these alone.
        trust_code: modules and URIs (without options) whose code may run though the recipe names it.

    Raises:
        InputError: what `sweep` would refuse.
        UntrustedError: the recipe names code that is not trusted.
    """
    with trusting(trust_code):
        plan = only(make_plan(read_asked(recipe)), only_variants)
        variants = [variant for variant in plan.variants if variant.name in (plan.chosen or plan.recipes)]
        for variant in variants:
            online_knn(plan.recipes[variant.name])
            try_out(variant, plan.recipes[variant.name])
    count, seeds = len(variants), ", ".join(map(str, plan.asked.seeds))
    lines = [f"{one.name}: {' '.join(one.overrides) or 'the recipe as it is'}" for one in variants]
    total = f"trainings: {count * len(plan.asked.seeds)}, of {count} variants with seeds {seeds}"
    return [*lines, total, "dry run: one batch went through each variant; nothing was written"]


def code_in_asked(asked: Asked) -> list[str]:
    """URIs and dotted names in the changes that a sweep makes to its recipe, as `unic.typed.code_in_overrides`."""
    varied = [
        line for key, values in asked.vary.items() for value in values for line in override_lines({key: value}, {})
    ]
    named = [one.change if isinstance(one, Resumed) else one for one in asked.variants.values()]
    return code_in_overrides([*asked.overrides, *varied, *(line for lines in named for line in lines)])


class _Sweep:
    """The trainings of a plan in their folder."""

    def __init__(self, plan: Plan, folder: SweepFolder, jobs: int, console: Console) -> None:
        self._plan, self._folder, self._jobs, self._console = plan, folder, jobs, console
        self._problems: list[str] = []

    def run(self, *, stop_hopeless: bool) -> Path:
        left = self._begun()
        rounds = [[one for one in left if one.seed == seed] for seed in self._plan.asked.seeds]
        for trainings in rounds if stop_hopeless else [left]:
            with closing(self._each(self._hopeful(trainings) if stop_hopeless else trainings)) as ended:
                for training, error in ended:
                    self._note(training, error)
        if any(self._folder.results.glob("*.json")):
            sweep_table(self._folder.path)
        if self._problems:
            raise UnfinishedError(f"sweep {self._folder.path}: {'; '.join(self._problems)}")
        return self._folder.path

    def _begun(self) -> list[Training]:
        """The trainings that are left, when the folder is that of this sweep and no other one can take it."""
        check_kind(self._folder)
        with claimed(self._folder.path, partial(tell, self._console)):
            check_kept(self._folder, self._plan)
            left = [one for one in self._plan.trainings(self._folder) if not one.result.is_file()]
            self._try_out(left)
            keep(self._folder, self._plan)
            if left:  # the next command is to find that this sweep has begun
                left[0].run.parent.mkdir(exist_ok=True)
        return left

    def _try_out(self, left: Sequence[Training]) -> None:
        """Tries each variant that has not begun; what is wrong with the last one is known before the first trains."""
        for one in {one.variant.name: one for one in left if newest_state(one.run) is None}.values():
            tell(self._console, f"trying {one.variant.name}")
            online_knn(one.recipe)
            try_out(one.variant, one.recipe)

    def _each(self, trainings: Sequence[Training]) -> Generator[tuple[Training, Exception | None], None, None]:
        if not trainings:
            return
        work = Work(self._plan, self._console if self._jobs == 1 else None)
        if self._jobs > 1:
            yield from run_each(trainings, self._jobs, work)
            return
        for training in trainings:
            tell(self._console, f"{training.name}: training in {training.run}")
            try:
                work(training)
            except PreemptedError:
                raise
            except Exception as error:
                if os.environ.get("UNIC_DEBUG"):
                    raise
                yield training, error
            else:
                yield training, None

    def _hopeful(self, trainings: Sequence[Training]) -> list[Training]:
        """Trainings of variants that are not below the base already."""
        base = self._plan.base.name
        below = hopeless(read_all(self._folder.results), base)
        for one in trainings:
            if one.variant.name in below:
                tell(self._console, f"{one.name}: left out, as {one.variant.name} is below {base}")
        return [one for one in trainings if one.variant.name not in below]

    def _note(self, training: Training, error: Exception | None) -> None:
        if error is None:
            tell(self._console, f"{training.name}: finished")
            return
        if isinstance(error, UnicError):
            error = error.continued_with("the same command")
        self._problems.append(f"{training.name}: {in_one_line(error)}")
        tell(self._console, self._problems[-1], "red")
        log.error("%s", self._problems[-1])
