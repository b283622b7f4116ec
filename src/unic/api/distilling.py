"""`unic.distill`, `unic.check` and a dry run: from a recipe to a trained student, exported, evaluated and reported."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from unic.api.evaluating import evaluate_run
from unic.api.exporting import export, refresh_card
from unic.api.recipes import AnyRecipe, loadable, override_lines
from unic.api.reporting import report
from unic.device import default_device
from unic.encoders import without_weights
from unic.errors import PreemptedError, UnfinishedError, in_one_line
from unic.eval.online import OnlineKnn
from unic.eval.plan import make_plan
from unic.eval.suite import load_suite
from unic.eval.trained import refuse_trained
from unic.preflight import Report, check_recipe
from unic.recipe.files import naming
from unic.recipe.schema import Recipe, load_recipe
from unic.runs.folder import RunFolder, trainings_in
from unic.runs.metrics import logged_to
from unic.runs.state import newest_state
from unic.signals import stop_signals
from unic.terminal import stderr_console, tell
from unic.training.engine import is_main_process
from unic.training.places import folder_of, found_from
from unic.training.stages import first_of
from unic.training.summary import summary
from unic.training.train import Callback, fit
from unic.training.trainings import check_seeds, plan_trainings
from unic.trust import trusting
from unic.typed import code_in_overrides

log = logging.getLogger("unic")


def distill(
    recipe: AnyRecipe,
    *,
    out: str | Path,
    resume: bool = False,
    seeds: Sequence[int] | None = None,
    trust_code: Sequence[str] = (),
    console: Console | None = None,
    overrides: Mapping[str, object] | None = None,
    **keys: Any,
) -> Path:
    """Distils the recipe's teachers into its student: training, export, evaluation, report.

    Args:
        recipe: a YAML path, the name of a shipped recipe, a mapping or a `Recipe`.
        out: the run folder, which must be empty or absent unless `resume` is set.
        resume: continue the run in `out` from its newest checkpoint, or start it.
        seeds: train once with each of these in place of the recipe's `seed`, in the run folders `out/seed-0` and so on,
            and write one table over all trainings of `out` into `out/results.json` and `out/report.html`. A repeated
            call skips finished trainings, continues interrupted ones and adds further seeds.
        trust_code: modules and URIs (without options) whose code may run although only the recipe names it. A resume
            needs it, too.
        console: shows the progress; default: stderr.
        overrides: recipe entries by dotted key, for example `{"train.lr": 1e-4}`. Code that they name is trusted.
        keys: further recipe entries, as keyword arguments: `train__lr=1e-4`, or `**{"train.lr": 1e-4}`.

    Returns:
        The run folder; with `seeds` the folder that holds all of them.

    Raises:
        InputError: the recipe, the folder or the seeds cannot be used.
        UntrustedError: the recipe names code that is not trusted.
        PreemptedError: a signal stopped the run, which is saved; `resume` continues it.
        StoppedError: a full disk, another process that died or does not answer, or losses that are not finite.
        UnfinishedError: the training is complete and saved, but the export, the evaluation or the report failed.
    """
    console = console or stderr_console()
    folder = Path(out)
    lines = override_lines(overrides, keys)
    with stop_signals() as stops, trusting(trust_code, code_in_overrides(lines)):
        if seeds is not None:
            check_seeds(seeds, lines)
            with stops.at_once("between trainings"):
                return _distill_each(recipe, folder, lines, seeds, console)
        with stops.at_once("before the run began"):
            settings, callback = _settled(recipe, folder, lines, resume)
        with naming(settings.name):
            fit(settings, folder, resume=resume, callback=callback, console=console)
        with stops.at_once("after the training, which is saved"):
            return finish(folder, settings, console)


def _distill_each(
    recipe: AnyRecipe, folder: Path, lines: Sequence[str], seeds: Sequence[int], console: Console
) -> Path:
    """Trains with one seed after another, then measures all. Failures after a training are reported at the end."""
    begun = next(iter(trainings_in(folder).values()), None)
    settings = load_recipe(loadable(recipe), lines, has_begun=begun is not None)
    settings = found_from(settings, folder_of(newest_state(begun)) if begun else None)
    problems = []
    for training in plan_trainings(settings, folder, seeds):
        if training.is_finished:
            tell(console, f"{training.folder}: finished before")
            continue
        tell(console, f"{training.folder}: training with seed {training.recipe.seed}")
        try:
            distill(training.recipe, out=training.folder, resume=True, console=console)
        except UnfinishedError as error:
            problems.append(str(error))
    last = settings.plans()[-1]
    parts: dict[str, Callable[[], object]] = {}
    if last.eval.suite:
        parts = {"evaluation": lambda: evaluate_run(folder, last, console), "report": lambda: report(folder)}
    problems += _attempts(parts, f"after the trainings of {folder}", console)
    if problems:
        raise UnfinishedError(f"{folder} holds all trainings, but {'; '.join(problems)}")
    return folder


def _settled(recipe: AnyRecipe, folder: Path, lines: Sequence[str], resume: bool) -> tuple[Recipe, Callback | None]:
    """The recipe with the paths of its files, and the callback that runs k-NN during the training."""
    settings = load_recipe(loadable(recipe), lines, has_begun=resume and RunFolder(folder).is_begun)
    settings = found_from(settings, folder_of(newest_state(folder)) if resume else None)
    with naming(settings.name):
        return settings, online_knn(settings)


def online_knn(recipe: Recipe) -> OnlineKnn | None:
    """The callback that runs k-NN during the training; None without one.

    The sets of the suite are listed here, so that a missing one, or an unseen one that is trained on, fails before the
    training. Of test images only names and labels are read.
    """
    if not recipe.eval.suite:
        return None
    suite = load_suite(recipe.eval.suite)
    plan = make_plan(suite, opens_images=False)
    refuse_trained(plan, [entry.path for stage in recipe.plans() for entry in stage.data.train])
    return OnlineKnn(suite) if recipe.eval.every else None


def dry_run(
    recipe: AnyRecipe,
    *,
    random_weights: bool = False,
    seeds: Sequence[int] | None = None,
    trust_code: Sequence[str] = (),
    overrides: Mapping[str, object] | None = None,
    **keys: Any,
) -> list[str]:
    """Builds all parts of a run, sends one batch through them and returns lines that describe them. Writes nothing.

    Args:
        recipe: the recipe, as of `distill`.
        random_weights: give every timm model random weights, so that nothing is downloaded.
        seeds: as of `distill`. Only the first is tried, since the others could not fail in another way.
        trust_code: modules and URIs (without options) whose code may run although only the recipe names it.
        overrides: recipe entries by dotted key, as of `distill`.
        keys: further recipe entries, as of `distill`.

    Raises:
        InputError: `distill` would refuse the recipe.
        UntrustedError: the recipe names code that is not trusted.
    """
    lines = override_lines(overrides, keys)
    if seeds is not None:
        check_seeds(seeds, lines)
        lines += [f"seed={seeds[0]}"]
    recipe = found_from(load_recipe(loadable(recipe), lines))
    plans = recipe.plans()
    with naming(recipe.name), trusting(trust_code, code_in_overrides(lines)):
        online_knn(recipe)
        job = first_of([_randomly(plan) for plan in plans] if random_weights else plans, default_device())
    each = [f"trainings: one with each of the seeds {', '.join(map(str, seeds))}"] if seeds else []
    return [*recipe.shared(summary(job)), *each, "dry run: one batch went through; nothing was written"]


def _randomly(plan: Recipe) -> Recipe:
    teachers = plan.teachers.with_uris({name: without_weights(uri) for name, uri in plan.teachers.uris.items()})
    student = plan.student.model_copy(update={"model": without_weights(plan.student.model)})
    return plan.model_copy(update={"teachers": teachers, "student": student})


def check(
    recipe: AnyRecipe,
    *,
    name: str = "recipe",
    processes: int = 1,
    price: float | None = None,
    out: str | Path | None = None,
    trust_code: Sequence[str] = (),
    overrides: Mapping[str, object] | None = None,
    **keys: Any,
) -> Report:
    """Checks a run before it starts: what it needs, and what would fail later.

    Args:
        recipe: the recipe, as of `distill`.
        name: the name of the recipe in the report.
        processes: number of processes of the run, each on a device like this one.
        price: price of one hour of all processes together, in any currency. Without it the report has no price.
        out: the planned run folder, whose disk is checked for free space.
        trust_code: modules and URIs (without options) whose code may run although only the recipe names it.
        overrides: recipe entries by dotted key, as of `distill`.
        keys: further recipe entries, as of `distill`.

    Returns:
        The report: facts (times in hours, sizes in GB), findings, and `is_ready`.

    Raises:
        InputError: the recipe cannot be read. Other mistakes are findings of the report.
        UntrustedError: the recipe names code that is not trusted.
    """
    lines = override_lines(overrides, keys)
    settings = found_from(load_recipe(loadable(recipe), lines))
    place = Path(out) if out else None
    with trusting(trust_code, code_in_overrides(lines)):
        return check_recipe(settings, default_device(), name=name, processes=processes, price=price, out=place)


def finish(folder: Path, settings: Recipe, console: Console) -> Path:
    """Exports, evaluates and reports a trained run. Where one of these fails, the next is still tried.

    Raises:
        UnfinishedError: names all failures in one line; train.log has them, too.
    """
    if not is_main_process():
        return folder
    settings = settings.plans()[-1]  # the result is the student of the last stage
    parts: dict[str, Callable[[], object]] = {"export": lambda: export(folder)}
    if settings.eval.suite:
        parts["evaluation"] = lambda: evaluate_run(folder, settings, console)
    parts |= {"model card": lambda: refresh_card(folder), "report": lambda: report(folder)}
    with logged_to(folder):
        problems = _attempts(parts, "after the training", console)
    if problems:
        raise UnfinishedError(f"{folder} is trained and saved, but its {'; its '.join(problems)}")
    return folder


def _attempts(parts: Mapping[str, Callable[[], object]], when: str, console: Console) -> list[str]:
    """Runs one part after another, and returns a line for each that fails."""
    problems = []
    for name, part in parts.items():
        tell(console, f"{when}: {name}")
        try:
            part()
        except PreemptedError:
            raise
        except Exception as error:  # the training is saved; a later failure must not look like its own
            if os.environ.get("UNIC_DEBUG"):
                raise
            problems.append(f"{name} failed: {in_one_line(error)}")
            log.error("%s", problems[-1])
    return problems
